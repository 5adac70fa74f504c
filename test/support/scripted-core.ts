import type { SchedulerStats } from '../../scheduler/index.js';
import { SimulatedCodec } from '../../src/engine/simulated/simulated-codec.js';
import type { TextCodec } from '../../src/engine/text-codec.js';
import type { ServiceError } from '../../src/errors.js';
import { noStats } from '../../src/serving/no-stats.js';
import type {
  GenerationEvent,
  GenerationRequest,
  ModelDescription,
  ServingCore,
  ServingState,
} from '../../src/serving/serving-core.js';
import type { TraceEvent } from '../../src/serving/tick-trace.js';

/** One request the core was given; the test plays the engine. */
export interface ScriptedRequest {
  request: GenerationRequest;
  emit(event: GenerationEvent): void;
  aborted: boolean;
}

/** A serving core without scheduler or engine: records what it is asked and says what the test tells it to. */
export class ScriptedCore implements ServingCore {
  readonly model: ModelDescription = {
    id: 'org/scripted-model',
    createdSeconds: 1_700_000_000,
    source: 'scripted',
    sizeBytes: 0,
    contextTokens: 512,
    slotCount: 4,
  };
  readonly codec: TextCodec = byteCodec;
  readonly requests: ScriptedRequest[] = [];
  state: ServingState = 'ready';
  refusal: ServiceError | null = null;
  private readonly arrivals: ((request: ScriptedRequest) => void)[] = [];

  assertAccepting(): void {
    if (this.refusal !== null) throw this.refusal;
  }

  expectedWaitMs(): number {
    return 0;
  }

  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void {
    this.assertAccepting();
    const scripted: ScriptedRequest = {
      request,
      aborted: false,
      emit: (event) => {
        if (!scripted.aborted) onEvent(event);
      },
    };
    this.requests.push(scripted);
    this.arrivals.shift()?.(scripted);
  }

  /** Resolves with the next request that is submitted. */
  nextRequest(): Promise<ScriptedRequest> {
    return new Promise((resolve) => this.arrivals.push(resolve));
  }

  abort(requestId: string): void {
    for (const scripted of this.requests) if (scripted.request.id === requestId) scripted.aborted = true;
  }

  async trace(): Promise<TraceEvent[]> {
    return [];
  }

  stats(): SchedulerStats {
    return { ...noStats, slotCount: 4, cachedSlots: 1, emptySlots: 3 };
  }

  async close(): Promise<void> {}
}

const byteCodec: TextCodec = {
  beginToken: 256,
  vocabularySize: 300,
  encode: (text) => Uint32Array.from(Buffer.from(text, 'utf8')),
  decode: (tokens) => Buffer.from(tokens.filter((token) => token < 256)).toString('utf8'),
  spell: (tokens) => new SimulatedCodec().spell(tokens),
  renderChat: (messages) => messages.map(({ role, content }) => `${role}: ${content}\n`).join(''),
};
