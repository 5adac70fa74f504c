/** From these on CommonJS can load ES modules, which @fastify/static needs. */
const oldestMinors: Readonly<Record<number, number>> = { 20: 19, 22: 12 };

export const neededNode = '20.19, 22.12 or newer';

/** @param version such as `22.12.0` */
export function isNodeNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 22 || minor >= (oldestMinors[major] ?? Number.POSITIVE_INFINITY);
}
