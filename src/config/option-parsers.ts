import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type PriorityClass, priorityClasses } from '../../scheduler/index.js';
import { nearestWord } from './nearest-word.js';

type MillisecondsByClass = Readonly<Record<PriorityClass, number>>;

/** `problem` completes the sentence "`--port 99999` ...", for example "must be a whole number from 0 to 65535". */
export type Parsed<Value> = { ok: true; value: Value } | { ok: false; problem: string };
export type Parser<Value> = (text: string) => Parsed<Value>;

const parsed = <Value>(value: Value): Parsed<Value> => ({ ok: true, value });
const refused = (problem: string): Parsed<never> => ({ ok: false, problem });

export function wholeNumber(limits: { minimum: number; maximum: number; unit?: string }): Parser<number> {
  const unit = limits.unit === undefined ? '' : ` of ${limits.unit}`;
  const problem = `must be a whole number${unit} from ${limits.minimum} to ${limits.maximum}`;
  return (text) => {
    const value = /^-?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
    return value >= limits.minimum && value <= limits.maximum ? parsed(value) : refused(problem);
  };
}

/** @param words what may be written, and what each of them means */
export function oneOf<Value extends string>(words: Readonly<Record<string, Value>>): Parser<Value> {
  const names = Object.keys(words);
  return (text) => {
    const value = Object.hasOwn(words, text) ? words[text] : undefined;
    if (value !== undefined) return parsed(value);
    const nearest = nearestWord(text, names);
    const hint = nearest === null ? '' : `; did you mean ${nearest}?`;
    return refused(`must be one of ${names.join(', ')}${hint}`);
  };
}

const longestByClassMs = 86_400_000;

/** `interactive=500,batch=60000`: classes may be left out. */
export function millisecondsByClass(
  example: MillisecondsByClass,
  minimumMs: number,
): Parser<Partial<MillisecondsByClass>> {
  const problem =
    `must be a list such as ${showByClass(example)}, ` +
    `each from ${minimumMs} to ${longestByClassMs} milliseconds`;
  return (text) => {
    const values: Partial<Record<PriorityClass, number>> = {};
    for (const part of text.split(',')) {
      const [, name = '', digits] = /^\s*(\w+)=(\d+)\s*$/.exec(part) ?? [];
      const milliseconds = Number(digits);
      const priorityClass = priorityClasses.find((each) => each === name);
      if (!priorityClass || !(milliseconds >= minimumMs && milliseconds <= longestByClassMs))
        return refused(problem);
      values[priorityClass] = milliseconds;
    }
    return parsed(values);
  };
}

export function showByClass(milliseconds: MillisecondsByClass): string {
  return priorityClasses.map((name) => `${name}=${milliseconds[name]}`).join(',');
}

export const onOrOff: Parser<boolean> = (text) => {
  const word = text.trim().toLowerCase();
  if (['1', 'true', 'yes', 'on'].includes(word)) return parsed(true);
  if (['0', 'false', 'no', 'off'].includes(word)) return parsed(false);
  return refused('must be one of true, false, 1, 0, yes, no, on, off');
};

export const hostName: Parser<string> = (text) => {
  const host = text.replace(/^\[(.*)\]$/, '$1');
  const valid = isIP(host) !== 0 || /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host);
  const looksLikeAddress = /^[\d.]+$/.test(host) && isIP(host) === 0;
  return valid && !looksLikeAddress ? parsed(host) : refused('must be an IP address or a host name');
};

export const keyPrefix: Parser<string> = (text) =>
  /^[\w-]{1,64}$/.test(text) ? parsed(text) : refused('must be 1 to 64 letters, digits, - or _');

export const redisUrl: Parser<string> = (text) => {
  const url = URL.canParse(text) ? new URL(text) : null;
  const valid = url !== null && ['redis:', 'rediss:'].includes(url.protocol) && url.hostname !== '';
  return valid
    ? parsed(text)
    : refused('must be a URL such as redis://127.0.0.1:6379 or rediss://user:password@host:6380/0');
};

export const modelReference: Parser<string> = (text) => {
  if (text.trim() === '') return refused('must be a path to a .gguf file or hf:user/repo:quant');
  if (/^(hf|huggingface):/.test(text)) {
    const valid = /^(hf|huggingface):(\/\/)?[\w.-]+\/[\w.-]+([:/].*)?$/.test(text);
    return valid ? parsed(text) : refused('must have the form hf:user/repo:quant or hf:user/repo/file.gguf');
  }
  if (/^https?:\/\//.test(text))
    return refused('must be a path or hf:user/repo:quant; download other URLs first');
  return parsed(expandHome(text));
};

export const directoryPath: Parser<string> = (text) =>
  text.trim() === '' ? refused('must be a directory') : parsed(resolve(expandHome(text)));

export const filePath: Parser<string> = (text) =>
  text.trim() === '' ? refused('must be a file') : parsed(resolve(expandHome(text)));

/** One key. The text never appears in a problem. */
export const apiKey: Parser<string> = (text) => {
  const valid = text.length <= 512 && /^[\x21-\x7e]+$/.test(text);
  return valid ? parsed(text) : refused('must be 1 to 512 visible ASCII characters without spaces');
};

/** Shells expand `~`, environment files do not. */
function expandHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? join(homedir(), path.slice(1)) : path;
}
