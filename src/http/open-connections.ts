import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** How long a reader that is behind may take to collect an answer that is already complete. */
const lingerMs = 5000;

/**
 * Ends connections when the server closes. Node alone would wait a minute for a client that connected in advance and
 * never sent a request, as browsers and connection pools do.
 */
export class OpenConnections {
  private readonly requestsBySocket = new Map<Socket, number>();
  private closing = false;

  watch(server: Server): void {
    server.on('connection', (socket) => {
      this.requestsBySocket.set(socket, 0);
      socket.once('close', () => this.requestsBySocket.delete(socket));
    });
    server.on('request', ({ socket }, response) => {
      this.count(socket, 1);
      response.once('close', () => this.count(socket, -1));
    });
  }

  /** Ends idle connections now, busy ones after their answer, and whatever is left after a few seconds. */
  close(): void {
    this.closing = true;
    for (const socket of this.requestsBySocket.keys()) this.count(socket, 0);
    setTimeout(() => {
      for (const socket of this.requestsBySocket.keys()) socket.destroy();
    }, lingerMs).unref();
  }

  private count(socket: Socket, change: number): void {
    const requests = this.requestsBySocket.get(socket);
    if (requests === undefined) return;
    this.requestsBySocket.set(socket, requests + change);
    if (this.closing && requests + change === 0) socket.destroySoon();
  }
}
