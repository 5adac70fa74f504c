import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface DelayingProxy {
  port: number;
  /** Milliseconds that whatever passes is held back, in each direction; bytes stay in order. */
  delayMs: number;
  close(): void;
}

/** A TCP proxy in front of a port of this machine. */
export async function startDelayingProxy(targetPort: number): Promise<DelayingProxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const target = connect(targetPort, '127.0.0.1');
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      const held: Buffer[] = [];
      sockets.add(from.setNoDelay());
      from.on('error', () => {});
      from.on('close', () => to.destroy());
      from.on('data', (bytes) => {
        held.push(bytes);
        // Whichever timer fires: the delay may have become shorter since, the order stays.
        setTimeout(() => to.write(held.shift()!), proxy.delayMs);
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: DelayingProxy = {
    port: (server.address() as AddressInfo).port,
    delayMs: 0,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return proxy;
}
