import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface Mend {
  /** Inside `ggml/src/ggml-cpu`. */
  file: string;
  was: string;
  becomes: string;
}

const mends: Mend[] = [
  // GCC before 13 takes the stores into an AMX tile configuration for dead (it believes ldtilecfg reads 8 bytes), and
  // the first tile instruction then dies of SIGILL. Telling it that the whole struct is read costs nothing elsewhere.
  {
    file: 'amx/mmq.cpp',
    was: '    _tile_loadconfig(&tc);',
    becomes: '    __asm__ volatile("" : : "m"(tc));\n    _tile_loadconfig(&tc);',
  },
  // With AVX512-FP16 a dot product of f16 goes in steps of 128, and what is left token by token: with heads of 64, all
  // of it. Attention is then 3 to 4 times as slow as with AVX-512 alone, and sums in 16 bits. Only builds for one
  // processor (GGML_NATIVE) turn it on.
  {
    file: 'simd-mappings.h',
    was: '// F16 AVX512\n\n#if defined(__AVX512FP16__)',
    becomes: '// F16 AVX512\n\n#if 0 // slower with heads of 64: __AVX512FP16__',
  },
];

/**
 * Mends what makes llama.cpp v0.5.0 crash or crawl when it is compiled for the very processor it runs on.
 * @param source a checkout of llama.cpp
 * @throws Error when a place is not there any more
 */
export function mendLlamaSource(source: string): void {
  for (const { file, was, becomes } of mends) {
    const path = join(source, 'ggml', 'src', 'ggml-cpu', file);
    const text = readFileSync(path, 'utf8');
    if (text.includes(becomes)) continue;
    if (!text.includes(was)) throw new Error(`${path} has changed; it does not say: ${was}`);
    writeFileSync(path, text.replace(was, becomes));
  }
}
