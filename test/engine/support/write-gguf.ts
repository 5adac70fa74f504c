import { writeFileSync } from 'node:fs';

/** Whole numbers of a plain list are signed; `FloatValue` says what would look whole. */
export type MetadataValue = string | number | boolean | FloatValue | readonly string[] | readonly number[];

export interface FloatValue {
  float: number;
}

export interface FloatTensor {
  name: string;
  /** As in ggml: the first is the one that lies together. */
  dimensions: readonly number[];
  values: Float32Array;
}

const alignmentBytes = 32;
const types = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 };
const ggmlTypeF32 = 0;

/** Writes a GGUF file (version 3) whose tensors are all F32. */
export function writeGguf(
  path: string,
  metadata: Readonly<Record<string, MetadataValue>>,
  tensors: readonly FloatTensor[],
): void {
  const entries = Object.entries(metadata);
  const header = [Buffer.from('GGUF'), uint32(3), uint64(tensors.length), uint64(entries.length)];
  for (const [key, value] of entries) header.push(string(key), typed(value));
  const data: Buffer[] = [];
  let offset = 0;
  for (const { name, dimensions, values } of tensors) {
    header.push(string(name), uint32(dimensions.length), ...dimensions.map(uint64));
    header.push(uint32(ggmlTypeF32), uint64(offset));
    const bytes = padded(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
    data.push(bytes);
    offset += bytes.length;
  }
  writeFileSync(path, Buffer.concat([padded(Buffer.concat(header)), ...data]));
}

function typed(value: MetadataValue): Buffer {
  if (typeof value === 'string') return Buffer.concat([uint32(types.string), string(value)]);
  if (typeof value === 'number') return Buffer.concat([uint32(types.uint32), uint32(value)]);
  if (typeof value === 'boolean') return Buffer.concat([uint32(types.bool), Buffer.of(value ? 1 : 0)]);
  if ('float' in value)
    return Buffer.concat([uint32(types.float32), Buffer.from(Float32Array.of(value.float).buffer)]);
  const isText = typeof value[0] === 'string';
  const items = isText ? (value as readonly string[]).map(string) : (value as readonly number[]).map(int32);
  const itemType = isText ? types.string : types.int32;
  return Buffer.concat([uint32(types.array), uint32(itemType), uint64(value.length), ...items]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & (alignmentBytes - 1))]);
}

function string(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  return Buffer.from(Uint32Array.of(value).buffer);
}

function int32(value: number): Buffer {
  return Buffer.from(Int32Array.of(value).buffer);
}

function uint64(value: number): Buffer {
  return Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
}
