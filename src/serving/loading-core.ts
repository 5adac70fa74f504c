import type { PriorityClass, SchedulerStats } from '../../scheduler/index.js';
import type { TextCodec } from '../engine/text-codec.js';
import { ServiceError } from '../errors.js';
import { noStats } from './no-stats.js';
import type {
  GenerationEvent,
  GenerationRequest,
  ModelDescription,
  ServingCore,
  ServingState,
} from './serving-core.js';
import type { TraceEvent } from './tick-trace.js';

/** Stands in front of a core whose model is still being loaded, so that /health can say so from the first second. */
export class LoadingCore implements ServingCore {
  private core: ServingCore | null = null;
  private readonly announced: ModelDescription;

  /** @param announced what is known of the model before it is loaded; zero where unknown */
  constructor(announced: ModelDescription) {
    this.announced = announced;
  }

  /** Loading is over: everything goes to `core` from now on. */
  becomeReady(core: ServingCore): void {
    this.core = core;
  }

  get state(): ServingState {
    return this.core?.state ?? 'loading';
  }

  get model(): ModelDescription {
    return this.core?.model ?? this.announced;
  }

  get codec(): TextCodec | null {
    return this.loaded().codec;
  }

  assertAccepting(): void {
    this.loaded().assertAccepting();
  }

  expectedWaitMs(priorityClass: PriorityClass, tenant: string): number {
    return this.loaded().expectedWaitMs(priorityClass, tenant);
  }

  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void | Promise<void> {
    return this.loaded().submit(request, onEvent);
  }

  abort(requestId: string): void {
    this.core?.abort(requestId);
  }

  stats(): SchedulerStats {
    return this.core?.stats() ?? noStats;
  }

  trace(ticks: number): Promise<TraceEvent[]> {
    return this.loaded().trace(ticks);
  }

  async close(deadlineMs: number): Promise<void> {
    await this.core?.close(deadlineMs);
  }

  private loaded(): ServingCore {
    if (this.core) return this.core;
    throw new ServiceError('loading', 'the model is still being loaded', { retryAfterSeconds: 2 });
  }
}
