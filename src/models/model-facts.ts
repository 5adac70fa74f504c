/** What a GGUF file says about the memory it will need. */
export interface ModelFacts {
  /** From the file's metadata; null when it has none. */
  name: string | null;
  architecture: string;
  layers: number;
  trainedContextTokens: number;
  /** KV cells of all layers for one token at 16 bits; an upper bound for sliding-window and recurrent models. */
  kvBytesPerToken: number;
}

/** Reads only the header of the file. @throws Error when the header cannot be parsed */
export async function readModelFacts(path: string): Promise<ModelFacts> {
  const { readGgufFileInfo } = await import('node-llama-cpp');
  const file = await readGgufFileInfo(path, {
    sourceType: 'filesystem',
    readTensorInfo: false,
    logWarnings: false,
    ignoreKeys: ['tokenizer.ggml.tokens', 'tokenizer.ggml.merges', 'tokenizer.ggml.token_type'],
  });
  const shape = (file.architectureMetadata ?? {}) as ArchitectureShape;
  // The reader takes a cut file for one without metadata.
  if (shape.block_count === undefined) throw new Error('it names no layers; the file may be cut short');
  return {
    name: file.metadata.general?.name ?? null,
    architecture: file.metadata.general?.architecture ?? 'unknown',
    layers: shape.block_count,
    trainedContextTokens: shape.context_length ?? 0,
    kvBytesPerToken: kvBytesPerToken(shape),
  };
}

export interface ArchitectureShape {
  block_count?: number;
  context_length?: number;
  embedding_length?: number;
  attention?: {
    head_count?: number | number[];
    head_count_kv?: number | number[];
    key_length?: number;
    value_length?: number;
  };
}

const bytesPerElement = 2;

/** Sum over layers of KV heads x (key length + value length) x 2 bytes. */
export function kvBytesPerToken(shape: ArchitectureShape): number {
  const layers = shape.block_count ?? 0;
  const heads = shape.attention?.head_count ?? 1;
  const kvHeads = shape.attention?.head_count_kv ?? heads;
  const headLength = (shape.embedding_length ?? 0) / Math.max(1, perLayer(heads, 0));
  const keyLength = shape.attention?.key_length ?? headLength;
  const valueLength = shape.attention?.value_length ?? headLength;
  let elements = 0;
  for (let layer = 0; layer < layers; layer++)
    elements += perLayer(kvHeads, layer) * (keyLength + valueLength);
  return Math.ceil(elements * bytesPerElement);
}

function perLayer(value: number | number[], layer: number): number {
  return Array.isArray(value) ? (value[layer] ?? value.at(-1) ?? 0) : value;
}
