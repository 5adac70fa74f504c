/** Highest first. */
export const priorityClasses = ['interactive', 'standard', 'batch'] as const;
export type PriorityClass = (typeof priorityClasses)[number];

/** 0 for the highest class. */
export function classRank({ priorityClass }: { priorityClass: PriorityClass }): number {
  return priorityClasses.indexOf(priorityClass);
}

/** Of the class that only gets what others leave. */
export function isBulk({ priorityClass }: { priorityClass: PriorityClass }): boolean {
  return priorityClass === 'batch';
}

/** One choice of one request, as it enters the scheduler. */
export interface SequenceSpec {
  /** Unique for the life of the scheduler. */
  id: number;
  /** At least one token. */
  prompt: Uint32Array;
  /** Most tokens to generate; prompt plus this must fit the slot. */
  maxTokens: number;
  /** End tokens are ordinary tokens for this sequence. */
  ignoreEndToken: boolean;
  priorityClass: PriorityClass;
  tenant: string;
  /** KV is shared only between sequences of the same salt (vLLM's `cache_salt`). */
  cacheSalt: string;
  /** Absolute time at which it is dropped if it has not started yet; null: never. */
  deadlineMs: number | null;
}

/** Whether this token ends the sequence; it has no text then. */
export function isEndOf(
  { ignoreEndToken }: Pick<SequenceSpec, 'ignoreEndToken'>,
  token: number,
  endTokens: ReadonlySet<number>,
): boolean {
  return endTokens.has(token) && !ignoreEndToken;
}
