import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { defaultModel } from '../../src/models/default-model.js';
import { tinyModelPath } from '../../src/models/tiny-model.js';

const cacheDirectory = process.env.CHAIRLIFT_MODEL_CACHE ?? join(homedir(), '.cache', 'chairlift', 'models');

/** SmolLM2 where `chairlift pull` has put it, or null. */
export const realModelPath =
  [process.env.CHAIRLIFT_TEST_MODEL, join(cacheDirectory, defaultModel.fileName)].find(
    (path) => path !== undefined && existsSync(path),
  ) ?? null;

export { tinyModelPath };
