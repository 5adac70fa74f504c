import { hasTokens } from '../../overflow/frame.js';
import { endingOf } from '../../overflow/job-cost.js';
import type { GenerationEvent, ResumePoint } from '../../serving/serving-core.js';
import type { DrainHost } from './environment.js';
import { failedBecause, SimulatedWriter } from './relay.js';
import { type SimulatedFrame, SimulatedRedis, type StoredJob } from './simulated-redis.js';

interface TakenJob {
  job: StoredJob;
  writer: SimulatedWriter | null;
  /** The client, when it is here. */
  own: ((event: GenerationEvent) => void) | null;
  isRunning: boolean;
  isStopped: boolean;
  isSettling: boolean;
  isReleased: boolean;
  unfinished: number;
}

/** What became of a job on its way into the line. */
type Outcome = 'in line' | 'refused' | 'gone';

/** `Drain` and `RedisTakenJob` of src/overflow in simulated time: from the store into the line of this process. */
export class ClusterDrain {
  private readonly node: DrainHost;
  private readonly taken = new Map<string, TakenJob>();
  private bringing: StoredJob | null = null;
  private isPulling = false;
  private pullAgain = false;
  private restUntilMs = 0;

  constructor(node: DrainHost) {
    this.node = node;
    const { times } = node.environment.scenario;
    const { redis } = node.environment;
    node.every(times.lookAgainMs, () => this.wake());
    node.every(times.lockMs / 2, () => this.send(() => redis.checkStalled()));
    node.every(times.lockMs / 3, () => this.send(() => redis.renewLocks([...this.taken.keys()], node.id)));
  }

  brings(tenant: string): boolean {
    return this.bringing?.request.tenant === tenant;
  }

  wake(): void {
    this.pullAgain = true;
    if (this.isPulling) return;
    this.isPulling = true;
    this.pull();
  }

  /** Nobody wants the answer, or the store says so. */
  drop(label: string): void {
    const taken = this.taken.get(label);
    if (!taken || taken.isReleased) return;
    taken.writer?.close();
    this.finish(taken);
    this.stop(taken);
  }

  dropOrphans(): void {
    for (const [label, { job }] of [...this.taken]) if (this.node.isGone(job.ownerId)) this.drop(label);
  }

  leftovers(): string {
    const { taken } = this;
    return taken.size > 0 ? `jobs ${[...this.taken.keys()]}` : '';
  }

  private send(command: () => void, done: () => void = () => {}): void {
    this.node.connection.send(command, done, () => {
      this.node.noteFailure();
      done();
    });
  }

  private pull(): void {
    const { node } = this;
    const { policy, environment } = node;
    const mayPull =
      node.isUp && environment.timeline.nowMs >= this.restUntilMs && policy.pulls(node.line()) > 0;
    if (mayPull) {
      node.connection.send(
        () => environment.redis.take(node.id),
        (job) => this.pulled(job),
        () => {
          node.noteFailure();
          this.pulled(null);
        },
      );
      return;
    }
    this.pulledAll();
  }

  private pulled(job: StoredJob | null): void {
    if (job === null) {
      this.pulledAll();
      return;
    }
    this.node.policy.pulled();
    if (this.taken.has(job.request.label)) {
      // It lost its lock and has it again: what runs here goes on.
      this.pull();
      return;
    }
    this.bringing = job;
    const { order } = this.node.environment;
    order.leftStore(job, this.node.id);
    this.begin(job, (outcome) => {
      if (outcome !== 'refused') order.arrived(job, this.node.id, outcome === 'in line');
      this.bringing = null;
      this.pull();
    });
  }

  private pulledAll(): void {
    this.isPulling = this.pullAgain;
    if (!this.pullAgain) return;
    this.pullAgain = false;
    this.pull();
  }

  private begin(job: StoredJob, arrived: (outcome: Outcome) => void): void {
    const { node } = this;
    const { redis } = node.environment;
    const { label, choices } = job.request;
    const taken: TakenJob = {
      job,
      writer: null,
      own: null,
      isRunning: false,
      isStopped: false,
      isSettling: false,
      isReleased: false,
      unfinished: choices,
    };
    this.taken.set(label, taken);
    if (node.isGone(job.ownerId)) {
      this.drop(label);
      arrived('gone');
      return;
    }
    node.connection.send(
      () => redis.begin(label, node.id),
      (begun) => {
        if (begun === null) {
          this.drop(label);
          arrived('gone');
        } else arrived(this.begun(taken, begun.attempt, begun.frames));
      },
      () => {
        node.noteFailure();
        this.release(taken);
        arrived('gone');
      },
    );
  }

  private begun(taken: TakenJob, attempt: number, frames: readonly SimulatedFrame[]): Outcome {
    const { node } = this;
    const { rules, timeline } = node.environment;
    const { job } = taken;
    const { request, deadlineAtMs } = job;
    if (attempt === 1 && job.ownerId === node.id) taken.own = node.serveHere(request.label);
    if (taken.own === null) taken.writer = this.openWriter(taken, attempt);
    const isLate = deadlineAtMs !== null && deadlineAtMs <= timeline.nowMs;
    if (SimulatedRedis.isHopeless(job)) this.end(taken, failedBecause('every worker died'));
    else if (taken.writer && attempt === 1 && isLate) this.end(taken, endingOf('expired'));
    else if (!taken.isStopped) {
      const texts = frames.map(({ text }) => text);
      const shape = { prompts: [request.prompt], choicesPerPrompt: request.choices };
      return this.run(taken, attempt, texts.length === 0 ? null : rules.resumeFrom(shape, texts));
    }
    return 'gone';
  }

  private run(taken: TakenJob, attempt: number, resume: ResumePoint[] | null): Outcome {
    const { node } = this;
    const { lineAndStore, timeline } = node.environment;
    const { job } = taken;
    taken.unfinished -= resume?.filter(({ finished }) => finished).length ?? 0;
    if (taken.unfinished === 0) {
      this.finish(taken);
      return 'gone';
    }
    taken.isRunning = true;
    const { deadlineAtMs } = job;
    const isEndless = deadlineAtMs === null || hasTokens(resume);
    const lineDeadlineMs = isEndless ? null : Math.max(timeline.nowMs + 1, deadlineAtMs);
    const rejection = node.local!.start(job, resume, lineDeadlineMs, (event) => this.deliver(taken, event));
    if (rejection === null) {
      lineAndStore.drained(node);
      return 'in line';
    }
    taken.isRunning = false;
    if (rejection.reason === 'window' || rejection.reason === 'never') {
      this.end(taken, failedBecause('cannot run'));
      return 'gone';
    }
    taken.own = null;
    node.waitAgain(job.request.label, attempt);
    this.restUntilMs = timeline.nowMs + node.environment.scenario.times.restMs;
    this.settle(taken, () => node.environment.redis.putBack(job.request.label, node.id));
    return 'refused';
  }

  private deliver(taken: TakenJob, event: GenerationEvent): void {
    if (!taken.isRunning) return;
    this.tell(taken, event);
    if (event.type !== 'finished') return;
    this.node.slotFreed();
    this.wake();
    taken.unfinished -= 1;
    if (taken.unfinished > 0) return;
    taken.isRunning = false;
    this.finish(taken);
  }

  private tell(taken: TakenJob, event: GenerationEvent): void {
    if (taken.isReleased) return;
    if (taken.own) taken.own(event);
    else taken.writer?.push(event);
  }

  private end(taken: TakenJob, event: GenerationEvent): void {
    this.tell(taken, event);
    this.finish(taken);
  }

  private finish(taken: TakenJob): void {
    const { node } = this;
    this.settle(taken, () => node.environment.redis.complete(taken.job.request.label, node.id));
  }

  /** Once its frames are in the store, the job leaves this process's hands. */
  private settle(taken: TakenJob, move: () => void): void {
    if (taken.isReleased || taken.isSettling) return;
    taken.isSettling = true;
    const settled = () => {
      if (!taken.isReleased) this.send(move, () => this.release(taken));
    };
    if (taken.writer) taken.writer.whenEmpty(settled);
    else settled();
  }

  private stop(taken: TakenJob): void {
    taken.isStopped = true;
    if (!taken.isRunning) return;
    taken.isRunning = false;
    this.node.local!.abort(taken.job.request.label);
    this.wake();
  }

  private release(taken: TakenJob): void {
    taken.isReleased = true;
    const { label } = taken.job.request;
    if (this.taken.get(label) === taken) this.taken.delete(label);
  }

  private openWriter(taken: TakenJob, attempt: number): SimulatedWriter {
    const { node } = this;
    const { redis, scenario, rules } = node.environment;
    const later = (delayMs: number, action: () => void) => node.later(delayMs, action);
    const { connection } = node;
    const requestId = taken.job.request.label;
    const parts = { requestId, redis, connection, times: scenario.times, rules, later };
    return new SimulatedWriter(parts, attempt, () => {
      this.release(taken);
      this.stop(taken);
    });
  }
}
