import { homedir } from 'node:os';
import { join } from 'node:path';
import { type TtftTargets, throughputFirst } from '../../scheduler/index.js';
import type { NativeChoice } from '../models/native-build.js';
import { defaultMaxWaitMs, type LogLevel, logLevels, type ServeConfig } from './config.js';
import {
  apiKey,
  directoryPath,
  filePath,
  hostName,
  keyPrefix,
  millisecondsByClass,
  modelReference,
  oneOf,
  onOrOff,
  type Parser,
  redisUrl,
  showByClass,
  wholeNumber,
} from './option-parsers.js';

/**
 * What the options say, before keys from `--api-key` and `--api-key-file` become `ServeConfig.apiKeys`, and classes
 * that were left out get their default.
 */
export interface OptionValues extends Omit<ServeConfig, 'apiKeys' | 'ttftTargetsMs' | 'maxWaitMs'> {
  ttftTargetsMs: Partial<TtftTargets>;
  maxWaitMs: Partial<TtftTargets>;
  apiKey: readonly string[];
  apiKeyFile: string | null;
}

export type OptionKey = keyof OptionValues;

export interface OptionDefinition<Value = unknown> {
  key: OptionKey;
  /** With the two dashes. Its environment twin is `environmentName`. */
  flag: string;
  environmentName: string;
  /** What the help shows after the flag; null: a switch, which also has a `--no-` form. */
  valueName: string | null;
  /** Several values: the flag repeats, the environment separates by commas. */
  repeats: boolean;
  /** Never shown in messages. */
  secret: boolean;
  parse: Parser<unknown>;
  defaultValue: Value;
  /** The default in words, where the value alone does not tell. */
  defaultText: string;
  help: string;
}

type Details<Key extends OptionKey> = {
  help: string;
  defaultValue: OptionValues[Key];
  defaultText?: string;
} & (
  | { valueName: string; parse: Parser<NonNullable<OptionValues[Key]>> }
  | { repeats: true; valueName: string; parse: Parser<string> }
  | { isSwitch: true }
);

function option<Key extends OptionKey>(key: Key, flag: string, details: Details<Key>): OptionDefinition {
  return {
    key,
    flag,
    environmentName: `CHAIRLIFT_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`,
    valueName: 'valueName' in details ? details.valueName : null,
    repeats: 'repeats' in details,
    secret: key === 'apiKey',
    parse: 'parse' in details ? details.parse : onOrOff,
    defaultValue: details.defaultValue,
    defaultText: details.defaultText ?? String(details.defaultValue),
    help: details.help,
  };
}

const hourMs = 3_600_000;
const mebibyte = 1_048_576;
const gibibyte = 1024 * mebibyte;
const logLevelWords = Object.fromEntries(logLevels.map((level) => [level, level])) as Record<
  string,
  LogLevel
>;

export const defaultModelCacheDirectory = join(homedir(), '.cache', 'chairlift', 'models');

export const defaultDataDirectory = join(homedir(), '.local', 'share', 'chairlift');

/** Every option of `chairlift serve`. Command line, environment, `--help` and validation are made from this table. */
export const serveOptions: readonly OptionDefinition[] = [
  option('model', '--model', {
    valueName: 'path|hf:uri',
    parse: modelReference,
    defaultValue: null,
    defaultText: 'SmolLM2-135M-Instruct, fetched once',
    help: 'a .gguf file, or hf:user/repo:quant from Hugging Face',
  }),
  option('engine', '--engine', {
    valueName: 'llama|sim',
    parse: oneOf<ServeConfig['engine']>({ llama: 'llama', sim: 'simulated', simulated: 'simulated' }),
    defaultValue: 'llama',
    help: 'llama.cpp in this process, or a simulation without a model',
  }),
  option('native', '--native', {
    valueName: 'auto|prebuilt|local',
    parse: oneOf<NativeChoice>({ auto: 'auto', prebuilt: 'prebuilt', local: 'local' }),
    defaultValue: 'auto',
    help: 'which llama.cpp computes: what build-native compiled, if it did, or the prebuilt one',
  }),
  option('host', '--host', {
    valueName: 'address',
    parse: hostName,
    defaultValue: '127.0.0.1',
    help: 'address to listen on; other machines reach 0.0.0.0, which needs an API key',
  }),
  option('port', '--port', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 0, maximum: 65_535 }),
    defaultValue: 8080,
    help: 'port to listen on; 0 takes a free one',
  }),
  option('slots', '--slots', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 1, maximum: 256 }),
    defaultValue: null,
    defaultText: 'what memory allows, at most 32',
    help: 'requests that generate at the same time',
  }),
  option('contextTokens', '--context', {
    valueName: 'tokens',
    parse: wholeNumber({ minimum: 64, maximum: 4_194_304, unit: 'tokens' }),
    defaultValue: null,
    defaultText: 'what the model was trained with, at most 2048',
    help: 'prompt plus completion of one request, per slot',
  }),
  option('batchTokens', '--batch', {
    valueName: 'tokens',
    parse: wholeNumber({ minimum: 1, maximum: 16_384, unit: 'tokens' }),
    defaultValue: 512,
    help: 'most tokens in one native decode call',
  }),
  option('threads', '--threads', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 1, maximum: 1024 }),
    defaultValue: null,
    defaultText: 'the cores of the machine',
    help: 'most compute threads',
  }),
  option('itlTargetMs', '--itl-target-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 0, maximum: hourMs, unit: 'milliseconds' }),
    defaultValue: null,
    defaultText: '1.75 times a decode call with all slots busy; 3.5 times to finish short prompts',
    help: 'longest gap between two tokens that the prompts of others may cause; 0: throughput first',
  }),
  option('ttftTargetsMs', '--ttft-target-ms', {
    valueName: 'class=milliseconds,...',
    parse: millisecondsByClass(throughputFirst.ttftTargetsMs, 1),
    defaultValue: {},
    defaultText: showByClass(throughputFirst.ttftTargetsMs),
    help: 'time to the first token after which a prompt gets a larger share, by class',
  }),
  option('calibrate', '--calibrate', {
    isSwitch: true,
    defaultValue: true,
    help: 'time decode calls for a second or two at the first start with a model',
  }),
  option('maxWaitMs', '--max-wait-ms', {
    valueName: 'class=milliseconds,...',
    parse: millisecondsByClass(defaultMaxWaitMs(throughputFirst.ttftTargetsMs), 0),
    defaultValue: {},
    defaultText: '5 times --ttft-target-ms',
    help: 'longest estimated wait for a slot, by class; whoever would wait longer is answered 429; 0: any; unused while Redis is up',
  }),
  option('maxWaiting', '--max-waiting', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 0, maximum: 1_000_000 }),
    defaultValue: 512,
    help: 'most requests that wait for a slot; more are answered 429',
  }),
  option('maxWaitingTokens', '--max-waiting-tokens', {
    valueName: 'tokens',
    parse: wholeNumber({ minimum: 0, maximum: 1_000_000_000, unit: 'tokens' }),
    defaultValue: 262_144,
    help: 'most prompt tokens that wait for a slot; more are answered 429',
  }),
  option('snapshotDirectory', '--snapshot-dir', {
    valueName: 'directory',
    parse: directoryPath,
    defaultValue: null,
    defaultText: '/dev/shm, or none where there is none',
    help: 'where the KV of idle conversations is parked; memory, not a slow disk',
  }),
  option('snapshotBytes', '--snapshot-bytes', {
    valueName: 'bytes',
    parse: wholeNumber({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, unit: 'bytes' }),
    defaultValue: null,
    defaultText: 'a safe share of free memory',
    help: 'most bytes of parked KV; 0 parks none',
  }),
  option('apiKey', '--api-key', {
    repeats: true,
    valueName: 'key',
    parse: apiKey,
    defaultValue: [],
    defaultText: 'no authentication',
    help: 'accept this key; repeat the flag, or separate by commas in the environment, for several',
  }),
  option('apiKeyFile', '--api-key-file', {
    valueName: 'path',
    parse: filePath,
    defaultValue: null,
    defaultText: 'none',
    help: 'accept the keys in this file too, one a line; # starts a comment',
  }),
  option('allowUnauthenticated', '--allow-unauthenticated', {
    isSwitch: true,
    defaultValue: false,
    help: 'serve a public address without an API key',
  }),
  option('redisUrl', '--redis-url', {
    valueName: 'url',
    parse: redisUrl,
    defaultValue: null,
    defaultText: 'none; requests wait in memory',
    help: 'Redis that holds what does not fit in memory',
  }),
  option('role', '--role', {
    valueName: 'all|gateway|worker',
    parse: oneOf<ServeConfig['role']>({ all: 'all', gateway: 'gateway', worker: 'worker' }),
    defaultValue: 'all',
    help: 'gateway: no model, hands everything to workers through Redis; worker: takes requests from Redis only',
  }),
  option('redisPrefix', '--redis-prefix', {
    valueName: 'name',
    parse: keyPrefix,
    defaultValue: 'chairlift',
    help: 'in front of every name in Redis; one for each model',
  }),
  option('maxOverflow', '--max-overflow', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 0, maximum: 1_000_000 }),
    defaultValue: 10_000,
    help: 'most requests that wait beyond the line, in Redis or else in memory; more are answered 429',
  }),
  option('queueDashboard', '--queue-dashboard', {
    isSwitch: true,
    defaultValue: false,
    help: 'the jobs in Redis as a page at /admin/queues; every API key opens it and sees all prompts',
  }),
  option('streamRetentionMs', '--stream-retention-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 1_000, maximum: 24 * hourMs, unit: 'milliseconds' }),
    defaultValue: 300_000,
    help: 'how long a stream that came through Redis can be read again',
  }),
  option('redisLockMs', '--redis-lock-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 500, maximum: hourMs, unit: 'milliseconds' }),
    defaultValue: 5_000,
    help: 'silence after which others take over the requests of a worker',
  }),
  option('logLevel', '--log-level', {
    valueName: 'level',
    parse: oneOf<LogLevel>(logLevelWords),
    defaultValue: 'info',
    help: logLevels.join(', '),
  }),
  option('offline', '--offline', {
    isSwitch: true,
    defaultValue: false,
    help: 'never use the network to find a model',
  }),
  option('modelCacheDirectory', '--model-cache', {
    valueName: 'directory',
    parse: directoryPath,
    defaultValue: defaultModelCacheDirectory,
    defaultText: '~/.cache/chairlift/models',
    help: 'where fetched models are kept',
  }),
  option('shutdownMs', '--shutdown-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 0, maximum: hourMs, unit: 'milliseconds' }),
    defaultValue: 30_000,
    help: 'what running requests get to finish after SIGTERM or Ctrl-C',
  }),
  option('queueTimeoutMs', '--queue-timeout-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 1, maximum: 24 * hourMs, unit: 'milliseconds' }),
    defaultValue: 120_000,
    help: 'longest wait for a slot',
  }),
  option('requestTimeoutMs', '--request-timeout-ms', {
    valueName: 'milliseconds',
    parse: wholeNumber({ minimum: 1, maximum: 24 * hourMs, unit: 'milliseconds' }),
    defaultValue: 600_000,
    help: 'longest time for one whole request',
  }),
  option('maxBodyBytes', '--max-body-bytes', {
    valueName: 'bytes',
    parse: wholeNumber({ minimum: 1024, maximum: 1024 * mebibyte, unit: 'bytes' }),
    defaultValue: 4 * mebibyte,
    help: 'largest request body',
  }),
  option('dataDirectory', '--data-dir', {
    valueName: 'directory',
    parse: directoryPath,
    defaultValue: defaultDataDirectory,
    defaultText: '~/.local/share/chairlift',
    help: 'where uploaded files and batch jobs are kept',
  }),
  option('maxDataBytes', '--max-data-bytes', {
    valueName: 'bytes',
    parse: wholeNumber({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, unit: 'bytes' }),
    defaultValue: 10 * gibibyte,
    help: 'most bytes of all kept files; more uploads are refused',
  }),
  option('maxBatchFileBytes', '--max-batch-file-bytes', {
    valueName: 'bytes',
    parse: wholeNumber({ minimum: 1024, maximum: 100 * gibibyte, unit: 'bytes' }),
    defaultValue: 200 * mebibyte,
    help: 'largest input file of a batch job',
  }),
  option('maxBatchLines', '--max-batch-lines', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 1, maximum: 1_000_000 }),
    defaultValue: 50_000,
    help: 'most requests in one batch job',
  }),
  option('batchLinesInFlight', '--batch-lines-in-flight', {
    valueName: 'number',
    parse: wholeNumber({ minimum: 1, maximum: 4096 }),
    defaultValue: null,
    defaultText: 'twice as many as there are slots',
    help: 'most requests of batch jobs under way at a time',
  }),
];
