import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import {
  describeNativeBuild,
  type NativeChoice,
  nativeBuildOf,
  openNativeLibrary,
} from '../../models/native-build.js';
import type { ModelRuntime } from '../engine.js';
import { type ContextShape, chooseContextShape } from './context-shape.js';
import { LlamaCodec } from './llama-codec.js';
import { LlamaEngine } from './llama-engine.js';
import { openSnapshots } from './open-snapshots.js';

export interface LlamaRuntimeOptions extends ContextShape {
  modelPath: string;
  /** Which llama.cpp; absent: a local build where there is one. */
  native?: NativeChoice;
  batchTokens: number;
  /** null: the cores of the machine. */
  threads: number | null;
  /** Where slots are saved; absent: in shared memory, where there is any. */
  snapshotDirectory?: string | null;
  /** Most bytes of saved slots, 0 for none; absent: a safe share of what is free. */
  snapshotBytes?: number | null;
  /** Called with 0 to 1. */
  onLoadProgress?: (fraction: number) => void;
  /** Gets everything llama.cpp logs, down to debug; absent: errors go to stderr. */
  onNativeLog?: (message: string) => void;
}

/** @throws Error in plain words when the file is no model or the context does not fit into memory */
export async function loadLlamaRuntime(options: LlamaRuntimeOptions): Promise<ModelRuntime> {
  const { LlamaLogLevel } = await import('node-llama-cpp');
  const { onLoadProgress, onNativeLog } = options;
  const threads = options.threads ?? availableParallelism();
  const llama = await openNativeLibrary(options.native ?? 'auto', {
    logLevel: onNativeLog ? LlamaLogLevel.debug : LlamaLogLevel.error,
    ...(onNativeLog && { logger: (_level: string, message: string) => onNativeLog(message) }),
    maxThreads: threads,
  });
  const model = await llama.loadModel({
    modelPath: options.modelPath,
    ...(onLoadProgress && { onLoadProgress }),
  });
  const { slots, contextTokens } = await chooseContextShape(model, options);
  const context = await model.createContext({
    sequences: slots,
    contextSize: contextTokens,
    batchSize: Math.max(options.batchTokens, slots),
    threads,
    flashAttention: 'auto',
    failedCreationRemedy: false,
  });
  const windowTokens = model.fileInsights.swaSize ?? contextTokens;
  const snapshots = openSnapshots({
    directory: options.snapshotDirectory ?? null,
    limitBytes: options.snapshotBytes ?? null,
  });
  const vocabulary = [...model.iterateAllTokens()];
  const engine = await LlamaEngine.open(model, context, {
    endTokens: new Set(vocabulary.filter((token) => model.isEogToken(token))),
    // A sliding window has dropped what a cut tail would need again.
    reusePrefixes: windowTokens >= contextTokens,
    snapshots,
    samplesOneByOne: process.env.UV_THREADPOOL_SIZE === '1',
  });
  return {
    engine,
    codec: new LlamaCodec(model, vocabulary.length),
    name: basename(options.modelPath).replace(/\.gguf$/i, ''),
    sizeBytes: statSync(options.modelPath).size,
    threads,
    native: describeNativeBuild(nativeBuildOf(llama)),
  };
}
