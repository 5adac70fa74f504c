import { isIPv4, isIPv6 } from 'node:net';

/** Whether only this machine can reach the address. Names other than `localhost` count as public. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  if (bare === 'localhost') return true;
  if (isIPv4(bare)) return bare.startsWith('127.');
  if (!isIPv6(bare)) return false;
  return /^(0*:)*:?0*1$/.test(bare) || /^::ffff:127\./.test(bare);
}
