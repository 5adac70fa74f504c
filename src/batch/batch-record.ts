import type { GenerationEndpoint } from '../http/generation/generation-endpoints.js';
import type { BatchError } from './batch-line.js';

export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled';

const finalStatuses: ReadonlySet<BatchStatus> = new Set(['failed', 'completed', 'expired', 'cancelled']);

export function isFinal(status: BatchStatus): boolean {
  return finalStatuses.has(status);
}

/** OpenAI's `Batch`, as clients see it. Times are Unix seconds. */
export interface BatchObject {
  id: string;
  object: 'batch';
  endpoint: GenerationEndpoint;
  model: string | null;
  errors: { object: 'list'; data: readonly BatchError[] } | null;
  input_file_id: string;
  completion_window: string;
  status: BatchStatus;
  output_file_id: string | null;
  error_file_id: string | null;
  created_at: number;
  in_progress_at: number | null;
  expires_at: number;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  request_counts: { total: number; completed: number; failed: number };
  usage: BatchUsage | null;
  metadata: Readonly<Record<string, string>> | null;
}

export interface BatchUsage {
  input_tokens: number;
  input_tokens_details: { cached_tokens: number };
  output_tokens: number;
  output_tokens_details: { reasoning_tokens: number };
  total_tokens: number;
}

/** What is stored of a job. Only the holder of its claim writes it. */
export interface BatchRecord {
  tenant: string;
  /** The model of the server that took the job; only servers with the same one run it. */
  servedModel: string;
  /** Seconds after which output and error file expire; null: kept until they are deleted. */
  outputExpiresAfterSeconds: number | null;
  batch: BatchObject;
}

export interface NewBatch {
  endpoint: GenerationEndpoint;
  inputFileId: string;
  completionWindow: string;
  windowSeconds: number;
  metadata: Readonly<Record<string, string>> | null;
  outputExpiresAfterSeconds: number | null;
}

export function newBatchRecord(
  id: string,
  tenant: string,
  servedModel: string,
  wanted: NewBatch,
): BatchRecord {
  const createdAt = nowSeconds();
  return {
    tenant,
    servedModel,
    outputExpiresAfterSeconds: wanted.outputExpiresAfterSeconds,
    batch: {
      id,
      object: 'batch',
      endpoint: wanted.endpoint,
      model: null,
      errors: null,
      input_file_id: wanted.inputFileId,
      completion_window: wanted.completionWindow,
      status: 'validating',
      output_file_id: null,
      error_file_id: null,
      created_at: createdAt,
      in_progress_at: null,
      expires_at: createdAt + wanted.windowSeconds,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: null,
      metadata: wanted.metadata,
    },
  };
}

export const nowSeconds = () => Math.floor(Date.now() / 1000);
