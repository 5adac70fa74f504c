import { invariant } from './assert.js';
import type { FinishReason } from './events.js';
import type { SequenceSpec } from './sequence-spec.js';

/**
 * waiting -> running -> finished, or waiting -> finished; preemption leads from running back to waiting. A running
 * sequence is prefilling until the first token is sampled. "Sequence" and `computedTokens` as in vLLM.
 */
export type SequenceState = 'waiting' | 'running' | 'finished';

/** The token state of one choice of one request. */
export class Sequence {
  readonly spec: SequenceSpec;
  readonly arrivalMs: number;
  state: SequenceState = 'waiting';
  slot: number | null = null;
  /** Rank in which sequences got their slots; -1: it never had one. */
  startRank = -1;
  /** Tokens whose KV is in the slot. */
  computedTokens = 0;
  /** Prompt tokens that it never had to compute. */
  cachedTokens = 0;
  generatedTokens = 0;
  /** How often it had to give up its slot. */
  preemptions = 0;
  /** Consecutive decode calls with this sequence that failed. */
  failedTicks = 0;
  /** Whether it is known what it starts from; until then it holds its slot without computing. */
  isSettled = false;
  /** It once waited for another sequence to compute what they share. */
  waitedForPrefix = false;
  /** Set when it must end but its row is in flight. */
  endingReason: FinishReason | null = null;
  private tokens: Uint32Array;
  private staysUntilTokens = 0;
  private hasComputed = false;
  private knownTokens: number;

  constructor(spec: SequenceSpec, arrivalMs: number) {
    this.spec = spec;
    this.arrivalMs = arrivalMs;
    this.tokens = spec.prompt;
    this.knownTokens = spec.prompt.length;
  }

  /** Tokens known but not yet computed; 1 when decoding. */
  get pendingTokens(): number {
    return this.knownTokens - this.computedTokens;
  }

  get isPrefilling(): boolean {
    return this.state === 'running' && this.generatedTokens === 0;
  }

  /** Tokens of KV the sequence needs at most. */
  get windowTokens(): number {
    return this.spec.prompt.length + this.spec.maxTokens;
  }

  get hasStarted(): boolean {
    return this.startRank >= 0;
  }

  get isPreemptible(): boolean {
    return this.isSettled && this.generatedTokens >= this.staysUntilTokens;
  }

  /** A view of everything known: the prompt and what was generated. */
  known(): Uint32Array {
    return this.tokens.subarray(0, this.knownTokens);
  }

  /** @param inPlaceTokens first of the known tokens whose KV the slot happens to hold */
  start(slot: number, rank: number, inPlaceTokens: number): void {
    invariant(this.state === 'waiting', () => `sequence ${this.spec.id} started while ${this.state}`);
    this.state = 'running';
    this.slot = slot;
    if (!this.hasStarted) {
      this.tokens = new Uint32Array(this.windowTokens);
      this.tokens.set(this.spec.prompt);
    }
    this.startRank = rank;
    this.computedTokens = inPlaceTokens;
  }

  /** Back into the line, with all of its tokens. @param stayTokens that it will then generate before the next time */
  preempt(stayTokens: number): void {
    invariant(this.state === 'running', () => `sequence ${this.spec.id} preempted while ${this.state}`);
    this.state = 'waiting';
    this.slot = null;
    this.isSettled = false;
    this.waitedForPrefix = false;
    this.staysUntilTokens = this.generatedTokens + stayTokens;
    this.preemptions += 1;
  }

  /** From now on it is computed, beginning after what the slot is given. */
  settle(cachedTokens: number): void {
    this.isSettled = true;
    this.computedTokens = cachedTokens;
    if (!this.hasComputed) this.cachedTokens = cachedTokens;
  }

  /** So many more tokens are in the slot. */
  advance(tokens: number): void {
    this.computedTokens += tokens;
    this.hasComputed = true;
  }

  append(token: number): void {
    this.tokens[this.knownTokens] = token;
    this.knownTokens += 1;
  }

  /** A view of the next `count` tokens to compute. */
  nextTokens(count: number): Uint32Array {
    return this.tokens.subarray(this.computedTokens, this.computedTokens + count);
  }

  /** A view of the tokens whose KV is in the slot. */
  computed(): Uint32Array {
    return this.tokens.subarray(0, this.computedTokens);
  }

  /** The slot's KV is gone: everything known must be computed again. Sampler state is not touched. */
  forgetComputed(): void {
    this.computedTokens = 0;
    this.cachedTokens = 0;
    this.hasComputed = true;
  }
}
