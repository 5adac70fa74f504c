import type { PriorityClass, SchedulerConfig, SchedulingPolicy } from '../../scheduler/index.js';

/**
 * Milliseconds of a decode call: `perPassMs * passes + perTokenMs * tokens + perContextTokenMs * context`,
 * times noise.
 */
export interface NoisyCost {
  perPassMs: number;
  perTokenMs: number;
  /** Per token already held by the slots of the call. */
  perContextTokenMs: number;
  /** Sigma of the lognormal factor. */
  noiseSigma: number;
}

/** Who asks for what; shares are 0 to 1, ranges include both ends. */
export interface Traffic {
  meanGapMs: number;
  /** Share of arrivals that come in bursts of `burstSize` at one moment. */
  burstShare: number;
  burstSize: number;
  /** Relative rates of the tenants, and of the classes, highest class first. */
  tenantWeights: readonly number[];
  classWeights: readonly number[];
  promptTokens: readonly [lowest: number, highest: number];
  newTokens: readonly [lowest: number, highest: number];
  /** Different tokens in prompts; few make prefixes meet by accident. */
  alphabetTokens: number;
  /** Requests that begin with one of a few common prefixes. */
  sharedPrefix: { share: number; families: number; tokens: number };
  /** Requests with 2 to 4 choices. */
  choicesShare: number;
  deadlineShare: number;
  deadlineMs: readonly [lowest: number, highest: number];
  ignoreEndTokenShare: number;
  /** Clients that leave early, in every state. */
  leaveShare: number;
  /** Generations cut by a stop string. */
  stopShare: number;
  /** Clients that read late: what they do comes this much after what they saw. */
  slowReaderShare: number;
  readerLagMs: number;
  /** Clients that answer the end of a generation with another request, at once and from inside the delivery. */
  followUpShare: number;
  /** Tenants that keep their KV to themselves. */
  ownSaltShare: number;
}

export const faultKinds = [
  'slow-call',
  'failed-call',
  'refused-operations',
  'snapshot-store-full',
  'lost-slot-before',
  'lost-slot-during',
  'failed-sampling',
  'clock-step',
  'late-delivery',
  'cancel-storm',
] as const;
export type FaultKind = (typeof faultKinds)[number];

export interface FaultPlan {
  /** Chance per tick of a fault of each kind. */
  shares: Record<FaultKind, number>;
  /** Share of ticks, in runs of six, in which every decode call fails. */
  outageShare: number;
}

export function isFaultless({ shares, outageShare }: FaultPlan): boolean {
  return outageShare === 0 && faultKinds.every((kind) => shares[kind] === 0);
}

/** A workload, a machine and its misfortunes; everything follows from the seed. */
export interface Scenario {
  seed: number;
  config: SchedulerConfig;
  policy: SchedulingPolicy;
  cost: NoisyCost;
  /** After how many tokens a generation ends by itself, on average. */
  meanLengthTokens: number;
  clock: { resolutionMs: number; startMs: number };
  traffic: Traffic;
  faults: FaultPlan;
}

export type Leaving =
  | { when: 'never' }
  /** In the turn of the submission itself. */
  | { when: 'at-once' }
  /** On seeing that it got a slot: while its prompt is being computed. */
  | { when: 'started' }
  | { when: 'after-tokens'; count: number }
  /** Wherever it is by then: in the line, prefilling, decoding, mid-call. */
  | { when: 'after-time'; delayMs: number };

/** One client's request and how the client behaves. */
export interface ClientRequest {
  /** `12`; its follow-up is `12+`, that one's `12++`. */
  label: string;
  tenant: string;
  /** KV is shared only among equal salts. */
  cacheSalt: string;
  priorityClass: PriorityClass;
  prompt: Uint32Array;
  choices: number;
  maxTokens: number;
  ignoreEndToken: boolean;
  deadlineAfterMs: number | null;
  leaving: Leaving;
  /** A stop string appears with this delivered token; null: never. */
  stopAfterTokens: number | null;
  readerLagMs: number;
  hasFollowUp: boolean;
}

export interface Fault {
  kind: FaultKind;
  /** Chooses slots, rows, modes and durations. */
  draw: number;
}
