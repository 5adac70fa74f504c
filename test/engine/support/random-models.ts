import { readGgufFileInfo } from 'node-llama-cpp';
import { tinyModelPath } from '../../support/models.js';
import { SeededRandom } from '../../support/seeded-random.js';
import { type FloatTensor, type MetadataValue, writeGguf } from './write-gguf.js';

/**
 * Files of random weights, a few hundred KB each, with the tokenizer of the bundled model: what they say means nothing,
 * but every token of it depends on those before.
 */

const width = 32;
const layers = 2;

/** Mamba: one state per sequence for all positions. */
export async function writeRecurrentModel(path: string, seed: number): Promise<void> {
  const stateSize = 8;
  const kernel = 4;
  const inner = 2 * width;
  const stepRank = 4;
  const draw = tensorsFrom(seed);
  const perLayer = (layer: number): FloatTensor[] => {
    const name = (part: string) => `blk.${layer}.${part}`;
    return [
      draw.norm(name('attn_norm.weight'), width),
      draw.matrix(name('ssm_in.weight'), width, 2 * inner),
      draw.matrix(name('ssm_conv1d.weight'), kernel, inner),
      draw.norm(name('ssm_conv1d.bias'), inner, 0),
      draw.matrix(name('ssm_x.weight'), inner, stepRank + 2 * stateSize),
      draw.matrix(name('ssm_dt.weight'), stepRank, inner),
      draw.norm(name('ssm_dt.bias'), inner, -2),
      { name: name('ssm_a'), dimensions: [stateSize, inner], values: decays(stateSize, inner) },
      draw.norm(name('ssm_d'), inner),
      draw.matrix(name('ssm_out.weight'), inner, width),
    ];
  };
  await writeModel(path, 'mamba', draw, perLayer, {
    context_length: 4096,
    feed_forward_length: 0,
    'attention.head_count': 0,
    'ssm.conv_kernel': kernel,
    'ssm.inner_size': inner,
    'ssm.state_size': stateSize,
    'ssm.time_step_rank': stepRank,
  });
}

/** LFM2: its first layer keeps a state of the last few positions, its second one attends to all. */
export async function writeHybridModel(path: string, seed: number): Promise<void> {
  const inner = 2 * width;
  const heads = 2;
  const kernel = 3;
  const draw = tensorsFrom(seed);
  const perLayer = (layer: number): FloatTensor[] => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    const mixing =
      layer === 0
        ? [
            draw.matrix(name('shortconv.conv'), kernel, width),
            draw.matrix(name('shortconv.in_proj'), width, 3 * width),
            draw.matrix(name('shortconv.out_proj'), width, width),
          ]
        : [
            ...['attn_q_norm', 'attn_k_norm'].map((part) => draw.norm(name(part), width / heads)),
            ...['attn_q', 'attn_k', 'attn_v', 'attn_output'].map((part) =>
              draw.matrix(name(part), width, width),
            ),
          ];
    return [
      ...['attn_norm', 'ffn_norm'].map((part) => draw.norm(name(part), width)),
      ...mixing,
      ...['ffn_gate', 'ffn_up'].map((part) => draw.matrix(name(part), width, inner)),
      draw.matrix(name('ffn_down'), inner, width),
    ];
  };
  await writeModel(
    path,
    'lfm2',
    draw,
    perLayer,
    {
      context_length: 4096,
      feed_forward_length: inner,
      'attention.head_count': heads,
      'attention.head_count_kv': [0, heads],
      'shortconv.l_cache': kernel,
      'rope.freq_base': { float: 10_000 },
    },
    'token_embd_norm.weight',
  );
}

/** Gemma 3: its first layer sees the last `windowTokens` positions only, its second one all. */
export async function writeSlidingWindowModel(
  path: string,
  seed: number,
  { windowTokens, trainedTokens }: { windowTokens: number; trainedTokens: number },
): Promise<void> {
  const inner = 2 * width;
  const heads = 2;
  const headWidth = 32;
  const draw = tensorsFrom(seed);
  const perLayer = (layer: number): FloatTensor[] => {
    const name = (part: string) => `blk.${layer}.${part}.weight`;
    return [
      ...['attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm'].map((part) =>
        draw.norm(name(part), width),
      ),
      ...['attn_q_norm', 'attn_k_norm'].map((part) => draw.norm(name(part), headWidth)),
      ...['attn_q', 'attn_k', 'attn_v'].map((part) => draw.matrix(name(part), width, heads * headWidth)),
      draw.matrix(name('attn_output'), heads * headWidth, width),
      ...['ffn_gate', 'ffn_up'].map((part) => draw.matrix(name(part), width, inner)),
      draw.matrix(name('ffn_down'), inner, width),
    ];
  };
  await writeModel(path, 'gemma3', draw, perLayer, {
    context_length: trainedTokens,
    feed_forward_length: inner,
    'attention.head_count': heads,
    'attention.head_count_kv': heads,
    'attention.key_length': headWidth,
    'attention.value_length': headWidth,
    'attention.sliding_window': windowTokens,
    'attention.sliding_window_pattern': layers,
    'rope.freq_base': { float: 10_000 },
  });
}

async function writeModel(
  path: string,
  architecture: string,
  draw: ReturnType<typeof tensorsFrom>,
  perLayer: (layer: number) => FloatTensor[],
  shape: Record<string, MetadataValue>,
  lastNorm = 'output_norm.weight',
): Promise<void> {
  const { tokenizer } = await tokenizerMetadata();
  const allShapes = {
    ...shape,
    embedding_length: width,
    block_count: layers,
    'attention.layer_norm_rms_epsilon': { float: 1e-6 },
  };
  const metadata: Record<string, MetadataValue> = { 'general.architecture': architecture };
  for (const [key, value] of Object.entries(allShapes)) metadata[`${architecture}.${key}`] = value;
  for (const [key, value] of Object.entries(tokenizer.ggml)) metadata[`tokenizer.ggml.${key}`] = value;
  metadata['tokenizer.chat_template'] = tokenizer.chat_template;
  const words = (tokenizer.ggml.tokens as readonly string[]).length;
  writeGguf(path, metadata, [
    draw.matrix('token_embd.weight', width, words),
    draw.norm(lastNorm, width),
    draw.matrix('output.weight', width, words),
    ...Array.from({ length: layers }, (_, layer) => perLayer(layer)).flat(),
  ]);
}

interface TokenizerMetadata {
  tokenizer: { ggml: Record<string, MetadataValue>; chat_template: string };
}

async function tokenizerMetadata(): Promise<TokenizerMetadata> {
  const { metadata } = await readGgufFileInfo(tinyModelPath, {
    sourceType: 'filesystem',
    readTensorInfo: false,
  });
  return metadata as unknown as TokenizerMetadata;
}

function tensorsFrom(seed: number) {
  const random = new SeededRandom(seed);
  const around = (count: number, mean: number, spread: number) =>
    Float32Array.from({ length: count }, () => mean + spread * (2 * random.next() - 1));
  return {
    /** Keeps the size of what it is multiplied with. */
    matrix(name: string, inputs: number, outputs: number): FloatTensor {
      const values = around(inputs * outputs, 0, Math.sqrt(3 / inputs));
      return { name, dimensions: [inputs, outputs], values };
    },
    norm(name: string, length: number, mean = 1): FloatTensor {
      return { name, dimensions: [length], values: around(length, mean, 0.1) };
    },
  };
}

/** Slow, so that the first token still counts after hundreds. */
function decays(stateSize: number, channels: number): Float32Array {
  return Float32Array.from({ length: stateSize * channels }, (_, index) => -0.01 * (1 + (index % stateSize)));
}
