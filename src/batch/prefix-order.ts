import type { JsonObject } from '../http/parameters/json-fields.js';

const blockCharacters = 128;
const blocks = 32;

/**
 * Puts lines with a common beginning next to each other, so that their requests run at the same time and share its KV.
 * A prompt is known by hashes of its beginnings, one per block as in vLLM's prefix cache: 128 bytes a line instead of
 * the text. Lines that are alike keep their order.
 */
export class PrefixOrder {
  private readonly keys: Uint32Array[] = [];

  /** Call once per line, in order. */
  add(body: JsonObject): void {
    this.keys.push(keyOf(JSON.stringify(body.messages ?? body.prompt ?? '')));
  }

  /** The numbers of the lines, counted from 0, in the order in which to run them. */
  lines(): Uint32Array {
    const order = Uint32Array.from(this.keys.keys());
    return order.sort((a, b) => compare(this.keys[a]!, this.keys[b]!) || a - b);
  }
}

/** FNV-1a over the text so far, noted after every whole block. */
function keyOf(text: string): Uint32Array {
  const count = Math.min(blocks, Math.floor(text.length / blockCharacters));
  const key = new Uint32Array(count);
  let hash = 0x811c9dc5;
  for (let block = 0; block < count; block += 1) {
    for (let index = 0; index < blockCharacters; index += 1) {
      hash ^= text.charCodeAt(block * blockCharacters + index);
      hash = Math.imul(hash, 0x01000193);
    }
    key[block] = hash;
  }
  return key;
}

function compare(a: Uint32Array, b: Uint32Array): number {
  const shared = Math.min(a.length, b.length);
  for (let block = 0; block < shared; block += 1) {
    if (a[block] !== b[block]) return a[block]! - b[block]!;
  }
  return a.length - b.length;
}
