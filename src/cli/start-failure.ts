import type { ServeConfig } from '../config/config.js';

/** One line that says what stopped the start and what to do; never a stack trace. */
export function explainStartFailure(error: unknown, config: ServeConfig): string {
  const code = (error as NodeJS.ErrnoException)?.code;
  const address = `${config.host}:${config.port}`;
  switch (code) {
    case 'EADDRINUSE':
      return `${address} is in use; stop the other server or choose another --port`;
    case 'EACCES':
      return `${address} may not be used by this user; choose a --port above 1023`;
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${config.host} is no address of this machine; choose another --host`;
  }
  const message = error instanceof Error ? error.message.split('\n')[0]! : String(error);
  const outOfMemory = error instanceof Error && error.name === 'InsufficientMemoryError';
  const looksLikeMemory = /memory|too large|VRAM/i.test(message);
  return outOfMemory || looksLikeMemory ? `${message}; choose fewer --slots or a smaller --context` : message;
}
