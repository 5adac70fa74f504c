import { resolve } from 'node:path';
import { assertGgufFile } from './gguf-file.js';
import { findHuggingFaceFile } from './hugging-face.js';
import { findInCache } from './model-cache.js';
import { firstLine } from './model-errors.js';
import { isHuggingFaceUri, type ModelSources, publicModelSources } from './resolve-model.js';
import { isTinyModelPresent } from './tiny-model.js';

export type ModelLocation =
  | { state: 'present'; path: string; sizeBytes: number }
  | { state: 'damaged' | 'missing'; reason: string }
  /** Not on this machine; `serve` would fetch it. */
  | { state: 'fetchable'; bundledAvailable: boolean };

/** Where `resolveModel` would find the model without the network. Changes nothing. */
export async function locateModel(
  model: string | null,
  cacheDirectory: string,
  sources: ModelSources = publicModelSources,
): Promise<ModelLocation> {
  if (model === null) return await locateDefaultModel(cacheDirectory, sources);
  const isUri = isHuggingFaceUri(model);
  const path = isUri ? await findHuggingFaceFile(model, cacheDirectory, sources.huggingFace) : resolve(model);
  if (path === null) return { state: 'fetchable', bundledAvailable: false };
  try {
    return { state: 'present', path, sizeBytes: await assertGgufFile(path) };
  } catch (error) {
    return { state: isUri ? 'damaged' : 'missing', reason: firstLine(error) };
  }
}

async function locateDefaultModel(cacheDirectory: string, sources: ModelSources): Promise<ModelLocation> {
  const found = await findInCache(cacheDirectory, sources.defaultModel);
  if (found.state === 'present')
    return { state: 'present', path: found.path, sizeBytes: sources.defaultModel.sizeBytes };
  if (found.state === 'corrupt') return { state: 'damaged', reason: `${found.path}: ${found.reason}` };
  return { state: 'fetchable', bundledAvailable: isTinyModelPresent(sources.tinyModelPath) };
}
