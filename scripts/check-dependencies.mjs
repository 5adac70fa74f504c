// dependency-cruiser silently cruises nothing when its TypeScript support breaks, so the count is asserted.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const cruise = spawnSync(
  'npx',
  ['depcruise', '--config', '.dependency-cruiser.cjs', '--output-type', 'json', 'src', 'scheduler'],
  {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  },
);
const { summary } = JSON.parse(cruise.stdout);
for (const { rule, from, to } of summary.violations)
  console.error(`${rule.severity} ${rule.name}: ${from} -> ${to}`);
const minimumModules = 20;
if (summary.totalCruised < minimumModules) {
  console.error(
    `dependency check cruised only ${summary.totalCruised} modules (expected at least ${minimumModules})`,
  );
  process.exit(1);
}

// What an import rule cannot see: globals that would make the scheduler impure.
const impure =
  /\b(Date|Math\.random|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process|async|await|Promise|console)\b/;
let impurities = 0;
for (const name of readdirSync('scheduler', { recursive: true })) {
  if (!String(name).endsWith('.ts')) continue;
  const withoutComments = readFileSync(join('scheduler', String(name)), 'utf8')
    .replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/\/\/.*$/gm, '');
  withoutComments.split('\n').forEach((line, index) => {
    const found = line.match(impure);
    if (!found) return;
    impurities += 1;
    console.error(`error scheduler-is-pure: scheduler/${name}:${index + 1} uses ${found[0]}`);
  });
}
console.log(
  `${summary.totalCruised} modules cruised, ${summary.violations.length} violations, ${impurities} impurities`,
);
process.exit(summary.violations.length > 0 || impurities > 0 ? 1 : 0);
