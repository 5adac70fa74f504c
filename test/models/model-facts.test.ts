import { describe, expect, it } from 'vitest';
import { kvBytesPerToken } from '../../src/models/model-facts.js';
import { parseSystemInfo } from '../../src/models/native-build.js';

describe('kvBytesPerToken', () => {
  it('is layers x KV heads x (key + value) x 2 bytes, as SmolLM2-135M has them', () => {
    const smolLm = {
      block_count: 30,
      embedding_length: 576,
      attention: { head_count: 9, head_count_kv: 3 },
    };
    expect(kvBytesPerToken(smolLm)).toBe(30 * 3 * (64 + 64) * 2);
  });

  it('takes explicit head lengths and per-layer heads', () => {
    const shape = {
      block_count: 3,
      embedding_length: 1000,
      attention: { head_count: 4, head_count_kv: [2, 0, 1], key_length: 16, value_length: 8 },
    };
    expect(kvBytesPerToken(shape)).toBe((2 + 0 + 1) * (16 + 8) * 2);
  });

  it('counts one KV head per head where nothing else is said', () => {
    expect(kvBytesPerToken({ block_count: 1, embedding_length: 64, attention: { head_count: 4 } })).toBe(
      4 * 32 * 2,
    );
  });
});

describe('parseSystemInfo', () => {
  it('lists what is on and leaves out what is off', () => {
    const text = 'CPU : SSE3 = 1 | AVX = 1 | AVX2 = 0 | OPENMP = 1 | REPACK = 10 |';
    expect(parseSystemInfo(text)).toEqual(['SSE3', 'AVX', 'OPENMP']);
  });
});
