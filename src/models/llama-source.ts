import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * GCC before 13 takes the stores into an AMX tile configuration for dead (it believes ldtilecfg reads 8 bytes), and
 * the first tile instruction then dies of SIGILL. Telling it that the whole struct is read costs nothing elsewhere.
 * @param source a checkout of llama.cpp
 * @throws Error when the place is not there any more
 */
export function keepTileStores(source: string): void {
  const file = join(source, 'ggml', 'src', 'ggml-cpu', 'amx', 'mmq.cpp');
  const load = '    _tile_loadconfig(&tc);';
  const guard = '    __asm__ volatile("" : : "m"(tc));\n';
  const text = readFileSync(file, 'utf8');
  if (text.includes(guard)) return;
  if (!text.includes(load))
    throw new Error(`${file} loads no tile configuration where GCC 12 must be guarded`);
  writeFileSync(file, text.replace(load, guard + load));
}
