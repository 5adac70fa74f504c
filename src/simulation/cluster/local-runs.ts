import type { Rejection, SchedulerEvent, SequenceSpec } from '../../../scheduler/index.js';
import type { GenerationEvent, ResumePoint } from '../../serving/serving-core.js';
import type { Scenario } from '../scenario.js';
import type { Timeline } from '../timeline.js';
import type { ClusterRules } from './cluster-rules.js';
import type { StoredRequest } from './simulated-redis.js';
import type { Host } from './store-connection.js';
import { WorkerEngine } from './worker-engine.js';

interface RunHost extends Host {
  readonly environment: {
    scenario: { worker: Scenario };
    timeline: Timeline;
    rules: ClusterRules;
    onTick: () => void;
  };
  later(delayMs: number, action: () => void): void;
}

interface Run {
  label: string;
  choice: number;
  promptTokens: number;
  listener: (event: GenerationEvent) => void;
}

/** `LocalServingCore` in simulated time: requests become sequences, their events go to whoever listens. */
export class LocalRuns {
  readonly engine: WorkerEngine;
  private readonly node: RunHost;
  private readonly runs = new Map<number, Run>();
  private nextSequenceId = 1;

  constructor(node: RunHost) {
    const { scenario, timeline, rules, onTick } = node.environment;
    this.node = node;
    this.engine = new WorkerEngine({
      scenario: scenario.worker,
      timeline,
      createScheduler: (config, policy) => new rules.Scheduler(config, policy),
      alive: (action) => node.alive(action),
      onEvent: (event) => this.take(event),
      onTick,
    });
  }

  /** Takes all choices that are not complete, or none. */
  start(
    { request }: StoredRequest,
    resume: readonly ResumePoint[] | null,
    deadlineMs: number | null,
    listener: (event: GenerationEvent) => void,
  ): Rejection | null {
    const { label, prompt, maxTokens, ignoreEndToken, priorityClass, tenant, cacheSalt } = request;
    const specs: SequenceSpec[] = [];
    const complete: number[] = [];
    const runs = new Map<number, Run>();
    for (let choice = 0; choice < request.choices; choice += 1) {
      const { tokens, finished } = resume?.[choice] ?? { tokens: [], finished: false };
      if (finished) continue;
      if (tokens.length >= maxTokens) {
        complete.push(choice);
        continue;
      }
      const id = this.nextSequenceId;
      this.nextSequenceId += 1;
      specs.push({
        id,
        prompt: Uint32Array.from([...prompt, ...tokens]),
        maxTokens: maxTokens - tokens.length,
        ignoreEndToken,
        priorityClass,
        tenant,
        cacheSalt: `${tenant}\n${cacheSalt}`,
        deadlineMs,
      });
      runs.set(id, { label, choice, promptTokens: prompt.length, listener });
    }
    const rejection = this.engine.submit(specs);
    if (rejection) return rejection;
    for (const [id, run] of runs) this.runs.set(id, run);
    this.node.later(0, () => {
      for (const choice of complete) {
        listener({ type: 'finished', choice, reason: 'length', usage: noUsage });
      }
    });
    return null;
  }

  abort(label: string): void {
    for (const [id, run] of [...this.runs]) {
      if (run.label !== label) continue;
      this.runs.delete(id);
      this.engine.cancel(id);
    }
  }

  private take(event: SchedulerEvent): void {
    const run = this.runs.get(event.sequenceId);
    if (!run) return;
    const { choice, listener } = run;
    if (event.type === 'token') listener({ type: 'text', choice, text: '', tokens: [event.token] });
    else if (event.type === 'finished') {
      this.runs.delete(event.sequenceId);
      listener({ type: 'finished', choice, reason: event.reason, usage: noUsage });
    }
  }
}

const noUsage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
