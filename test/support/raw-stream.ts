import { connect, type Socket } from 'node:net';

/** One POST over a bare socket, for what fetch hides: reading or not, chunks as they come, how the connection ends. */
export interface RawStream {
  socket: Socket;
  /** All bytes so far, headers and chunk framing included. */
  received(): string;
  /** Resolves with all bytes once the connection is closed. */
  closed: Promise<string>;
}

export function openRawStream(port: number, path: string, body: object): RawStream {
  const text = JSON.stringify(body);
  const socket = connect(port, '127.0.0.1');
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  let received = '';
  socket.setEncoding('utf8');
  socket.on('data', (data) => {
    received += data;
  });
  socket.on('error', () => {});
  return {
    socket,
    received: () => received,
    closed: new Promise((resolve) => socket.on('close', () => resolve(received))),
  };
}
