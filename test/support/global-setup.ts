import { redisMissing } from './redis-missing.js';

/** Says once what a skipped test can only say in its name. */
export default function setUp(): void {
  if (redisMissing !== null) process.stderr.write(`Tests with Redis are skipped: ${redisMissing}\n`);
}
