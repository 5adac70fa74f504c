// What tsc leaves behind: files the build needs beside its JavaScript.
import { chmodSync, copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

const assets = ['src/models/tiny/chairlift-tiny-Q8_0.gguf'];

for (const asset of assets) {
  if (!existsSync(asset)) continue;
  mkdirSync(dirname(`dist/${asset}`), { recursive: true });
  copyFileSync(asset, `dist/${asset}`);
}
chmodSync('dist/src/cli/chairlift.cjs', 0o755);
