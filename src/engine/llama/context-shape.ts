import { freemem } from 'node:os';
import type { LlamaModel } from 'node-llama-cpp';

export interface ContextShape {
  /** null: as many as memory allows, at most `defaultSlots`. */
  slots: number | null;
  /** Tokens per slot; null: the training length, at most `defaultContextTokens`. */
  contextTokens: number | null;
}

const defaultSlots = 32;
const defaultContextTokens = 2048;
/** Share of free memory that defaults may take; what the user asked for is not reduced. */
const memoryShare = 0.5;

/** Slots times window that fit this machine. */
export async function chooseContextShape(
  model: LlamaModel,
  asked: ContextShape,
): Promise<{ slots: number; contextTokens: number }> {
  const contextTokens = asked.contextTokens ?? Math.min(model.trainContextSize, defaultContextTokens);
  if (asked.slots !== null) return { slots: asked.slots, contextTokens };
  const budgetBytes = freemem() * memoryShare;
  for (let slots = defaultSlots; slots > 1; slots /= 2) {
    const { cpuRam } = await model.fileInsights.estimateContextResourceRequirementsV2({
      contextSize: contextTokens,
      sequences: slots,
      modelGpuLayers: model.gpuLayers,
      flashAttention: 'auto',
    });
    if (cpuRam <= budgetBytes) return { slots, contextTokens };
  }
  return { slots: 1, contextTokens };
}
