import type { LineView, OverflowPolicy } from '../../scheduler/index.js';
import { ServiceError } from '../errors.js';
import type { GenerationEvent, GenerationRequest, ServingCore } from '../serving/serving-core.js';
import { hasTokens } from './frame.js';
import { choicesOf, endingOf } from './job-cost.js';
import type { OverflowStore, TakenJob } from './overflow-store.js';

/** Slots can become free without a word (an abort), and words from Redis can get lost. */
const lookAgainMs = 500;
/** After the line refused a job. */
const restMs = 100;

/** Refusals that pass: the job can run later, or elsewhere. */
const passing: ReadonlySet<string> = new Set(['queue_full', 'draining', 'loading', 'engine_failed']);

export interface DrainOptions {
  core: ServingCore;
  store: OverflowStore;
  policy: OverflowPolicy;
  line: () => Pick<LineView, 'freeSlots' | 'waiting'>;
  /** A job got into the line after `waitMs`. */
  onStart: (waitMs: number) => void;
  onEnd: () => void;
  onFault: (message: string, error: unknown) => void;
}

interface RunningJob {
  job: TakenJob;
  unfinishedChoices: number;
}

/** Brings jobs from the store into the line of this process, as many as there is room for. */
export class Drain {
  private readonly options: DrainOptions;
  private readonly running = new Map<string, RunningJob>();
  private readonly timer: NodeJS.Timeout;
  private bringing: TakenJob | null = null;
  private pulling = false;
  private pullAgain = false;
  private restUntilMs = 0;
  private stopping = false;

  constructor(options: DrainOptions) {
    this.options = options;
    options.store.onWork = () => this.wake();
    this.timer = setInterval(() => this.wake(), lookAgainMs).unref();
  }

  /** Whether a request of this tenant has left the store for the line and is not there yet. */
  brings(tenant: string): boolean {
    return this.bringing?.request.tenant === tenant;
  }

  /** There may be room, or work. */
  wake(): void {
    this.pullAgain = true;
    if (this.pulling || this.stopping) return;
    this.pulling = true;
    this.pull().catch((error) => this.options.onFault('jobs could not be taken from the overflow', error));
  }

  /** Takes no more; what runs goes on, and what is cut off from now on goes back to the store. */
  stop(): void {
    this.stopping = true;
    clearInterval(this.timer);
  }

  private async pull(): Promise<void> {
    const { policy, store } = this.options;
    try {
      while (this.pullAgain) {
        this.pullAgain = false;
        while (this.hasRoom()) {
          const job = await store.take();
          if (job === null) break;
          policy.pulled();
          await this.bring(job);
        }
      }
    } finally {
      this.pulling = false;
    }
  }

  private hasRoom(): boolean {
    const { policy, line } = this.options;
    return !this.stopping && Date.now() >= this.restUntilMs && policy.pulls(line()) > 0;
  }

  /**
   * One after the other: who was taken first comes into the line first, and nobody is taken while it is open whether
   * the one before goes back.
   */
  private async bring(job: TakenJob): Promise<void> {
    if (this.stopping) {
      job.putBack();
      return;
    }
    this.bringing = job;
    await this.run(job).catch((error) =>
      this.options.onFault(`job ${job.request.id} could not be started`, error),
    );
    this.bringing = null;
  }

  private async run(job: TakenJob): Promise<void> {
    const { id } = job.request;
    let isStopped = false;
    job.onStop = () => {
      isStopped = true;
      if (!this.running.delete(id)) return;
      this.options.core.abort(id);
      this.wake();
    };
    const request = await job.begin();
    if (request === null || isStopped) return;
    const resumed = request.resume?.filter(({ finished }) => finished).length ?? 0;
    const running = { job, unfinishedChoices: choicesOf(request) - resumed };
    if (running.unfinishedChoices === 0) {
      job.finish();
      return;
    }
    this.running.set(id, running);
    try {
      await this.options.core.submit(withTimeLeft(request, job), (event) => this.deliver(running, event));
      this.options.onStart(Date.now() - job.arrivedAtMs);
    } catch (error) {
      this.running.delete(id);
      this.refused(job, error);
    }
  }

  private refused(job: TakenJob, error: unknown): void {
    if (error instanceof ServiceError && passing.has(error.code)) {
      this.restUntilMs = Date.now() + restMs;
      job.putBack();
      return;
    }
    const failure =
      error instanceof ServiceError
        ? error.toFailure()
        : ({ code: 'internal_error', message: 'an unexpected error occurred' } as const);
    if (!(error instanceof ServiceError)) this.options.onFault(`job ${job.request.id} failed`, error);
    job.deliver({ ...endingOf('error'), failure });
    job.finish();
  }

  private deliver(running: RunningJob, event: GenerationEvent): void {
    const { job } = running;
    const { id } = job.request;
    if (this.running.get(id) !== running) return;
    if (event.type === 'finished' && event.reason === 'cancelled') {
      // Cut off because this process shuts down: somebody else goes on.
      this.running.delete(id);
      job.putBack();
      return;
    }
    job.deliver(event);
    if (event.type !== 'finished') return;
    this.options.onEnd();
    running.unfinishedChoices -= 1;
    if (running.unfinishedChoices > 0) return;
    this.running.delete(id);
    job.finish();
  }
}

/** The deadline is for the first token: whoever has some, and lost its worker, waits as long as it takes. */
function withTimeLeft(request: GenerationRequest, { deadlineAtMs }: TakenJob): GenerationRequest {
  const isEndless = deadlineAtMs === null || hasTokens(request.resume);
  return { ...request, queueTimeoutMs: isEndless ? null : Math.max(1, deadlineAtMs - Date.now()) };
}
