import { freemem, totalmem } from 'node:os';
import type { ServeConfig } from '../../config/config.js';
import type { ModelLocation } from '../../models/locate-model.js';
import { type ModelFacts, readModelFacts } from '../../models/model-facts.js';
import { formatBytes } from '../terminal.js';
import { type Check, fail, ok, warn } from './check.js';

/** As `serve` chooses them: halve the slots until their KV takes at most half of the free memory. */
const defaultSlots = 32;
const defaultContextTokens = 2048;
const memoryShare = 0.5;
/** Above this share of the free memory other programs will feel it. */
const tightShare = 0.8;

export async function checkMemory(config: ServeConfig, model: ModelLocation | null): Promise<Check> {
  const freeBytes = availableBytes();
  const free = `${formatBytes(freeBytes)} free of ${formatBytes(totalmem())}`;
  if (model?.state !== 'present')
    return ok('memory', `${free}; what slots need is known once the model is here`);
  try {
    return judgeMemory(config, await readModelFacts(model.path), model.sizeBytes, freeBytes, free);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return fail(
      'memory',
      `${free}; the header of ${model.path} cannot be read (${reason})`,
      'fetch it again',
    );
  }
}

function judgeMemory(
  config: ServeConfig,
  facts: ModelFacts,
  weightBytes: number,
  freeBytes: number,
  free: string,
): Check {
  const shape = chooseShape(config, facts, freeBytes);
  const kvBytes = shape.slots * shape.contextTokens * facts.kvBytesPerToken;
  const finding =
    `${free}; ${shape.slots} slots x ${shape.contextTokens} tokens need ${formatBytes(kvBytes)} of KV ` +
    `beside ${formatBytes(weightBytes)} of weights`;
  const advice = 'choose fewer --slots or a smaller --context';
  if (kvBytes + weightBytes > freeBytes) return fail('memory', finding, advice);
  if (kvBytes + weightBytes > freeBytes * tightShare) return warn('memory', finding, advice);
  return ok('memory', finding);
}

export function chooseShape(
  config: Pick<ServeConfig, 'slots' | 'contextTokens'>,
  facts: Pick<ModelFacts, 'kvBytesPerToken' | 'trainedContextTokens'>,
  freeBytes: number,
): { slots: number; contextTokens: number } {
  const trained = facts.trainedContextTokens || defaultContextTokens;
  const contextTokens = config.contextTokens ?? Math.min(trained, defaultContextTokens);
  let slots = config.slots ?? defaultSlots;
  const slotBytes = contextTokens * facts.kvBytesPerToken;
  while (config.slots === null && slots > 1 && slots * slotBytes > freeBytes * memoryShare) slots /= 2;
  return { slots, contextTokens };
}

/** A container may allow less than the machine has. */
function availableBytes(): number {
  const limit = process.constrainedMemory?.() ?? 0;
  const limited = limit > 0 && limit < totalmem();
  return limited ? Math.min(freemem(), Math.max(0, limit - process.memoryUsage.rss())) : freemem();
}
