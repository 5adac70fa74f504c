import { throughputFirst } from '../../scheduler/index.js';
import { readApiKeyFile } from './api-key-file.js';
import { defaultMaxWaitMs, type ServeConfig } from './config.js';
import { isLoopbackHost } from './loopback.js';
import { nearestWord } from './nearest-word.js';
import { type OptionDefinition, type OptionKey, type OptionValues, serveOptions } from './serve-options.js';

/**
 * Flags as typed, before parsing. A string is a value, an array the values of a repeated flag, a boolean a switch,
 * and null a flag whose value is missing.
 */
export type FlagValues = Partial<Record<OptionKey, string | string[] | boolean | null>>;

export interface ConfigSources {
  flags: FlagValues;
  environment: Readonly<Record<string, string | undefined>>;
  /** Command line words that no option or command claimed. */
  unknownWords?: readonly string[];
  /** The options this command has; the others keep their defaults. */
  only?: readonly OptionKey[];
}

export interface LoadedConfig {
  config: ServeConfig;
  /** One line each, for the person who started the process. */
  warnings: string[];
}

/** Everything wrong with the options at once, one problem a line, in `problems`. */
export class ConfigError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** Flag beats environment beats default. @throws ConfigError */
export function loadServeConfig(sources: ConfigSources): LoadedConfig {
  const problems: string[] = [];
  const values = {} as Record<OptionKey, unknown>;
  const givenKeys = new Set<OptionKey>();
  const origins = {} as Record<OptionKey, string>;
  for (const definition of serveOptions) {
    const given = sources.only?.includes(definition.key) === false ? null : givenTexts(definition, sources);
    if (given !== null) givenKeys.add(definition.key);
    origins[definition.key] = given?.origin ?? definition.flag;
    values[definition.key] =
      given === null ? definition.defaultValue : parseTexts(definition, given, problems);
  }
  problems.push(...unknownWordProblems(sources.unknownWords ?? []));
  const options = values as unknown as OptionValues;
  const warnings = unknownEnvironmentWarnings(sources.environment);
  const config = toServeConfig(options, origins, problems, warnings);
  problems.push(...contradictions(config, givenKeys, origins));
  if (problems.length > 0) throw new ConfigError(problems);
  return { config, warnings };
}

interface GivenTexts {
  /** `--port` or `CHAIRLIFT_PORT`. */
  origin: string;
  fromEnvironment: boolean;
  texts: (string | null)[];
}

function givenTexts(definition: OptionDefinition, sources: ConfigSources): GivenTexts | null {
  const flagValue = sources.flags[definition.key];
  if (flagValue !== undefined) {
    const texts = Array.isArray(flagValue) ? flagValue : [flagValue === null ? null : String(flagValue)];
    return { origin: definition.flag, fromEnvironment: false, texts };
  }
  const text = sources.environment[definition.environmentName];
  // Compose files and CI pass empty variables for "not set".
  if (text === undefined || text.trim() === '') return null;
  const texts = definition.repeats ? splitList(text) : [text];
  return { origin: definition.environmentName, fromEnvironment: true, texts };
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

function parseTexts(definition: OptionDefinition, given: GivenTexts, problems: string[]): unknown {
  const accepted: unknown[] = [];
  for (const text of given.texts) {
    if (text === null) {
      problems.push(`${given.origin}: needs a value, <${definition.valueName}>`);
      continue;
    }
    const result = definition.parse(text);
    if (result.ok) accepted.push(result.value);
    else problems.push(`${showGiven(definition, given, text)}: ${result.problem}`);
  }
  if (definition.repeats) return accepted;
  return accepted.length === 0 ? definition.defaultValue : accepted[0];
}

function showGiven(definition: OptionDefinition, given: GivenTexts, text: string): string {
  if (definition.secret) return given.origin;
  const shown = definition.key === 'redisUrl' ? hidePassword(text) : text;
  const quoted = shown === '' || /\s/.test(shown) ? JSON.stringify(shown) : shown;
  return given.fromEnvironment ? `${given.origin}=${quoted}` : `${given.origin} ${quoted}`;
}

/** Works on text that may not be a URL at all. */
export function hidePassword(url: string): string {
  return url.replace(/:[^:@/]*@/, ':***@');
}

function toServeConfig(
  options: OptionValues,
  origins: Record<OptionKey, string>,
  problems: string[],
  warnings: string[],
): ServeConfig {
  const { apiKey, apiKeyFile, ...rest } = options;
  const keys = [...apiKey];
  if (apiKeyFile !== null) {
    const file = readApiKeyFile(apiKeyFile);
    keys.push(...file.keys);
    problems.push(...file.problems.map((problem) => `${origins.apiKeyFile} ${apiKeyFile}: ${problem}`));
    warnings.push(...file.warnings);
  }
  const ttftTargetsMs = { ...throughputFirst.ttftTargetsMs, ...rest.ttftTargetsMs };
  const maxWaitMs = { ...defaultMaxWaitMs(ttftTargetsMs), ...rest.maxWaitMs };
  return { ...rest, ttftTargetsMs, maxWaitMs, apiKeys: [...new Set(keys)] };
}

/** Values that are fine alone and wrong together. */
function contradictions(
  config: ServeConfig,
  givenKeys: ReadonlySet<OptionKey>,
  origins: Record<OptionKey, string>,
): string[] {
  const problems: string[] = [];
  const wantsKeys = givenKeys.has('apiKey') || givenKeys.has('apiKeyFile');
  if (!isLoopbackHost(config.host) && !wantsKeys && !config.allowUnauthenticated)
    problems.push(
      `${origins.host} ${config.host}: a public address needs --api-key or --api-key-file ` +
        '(or --allow-unauthenticated, for everyone who reaches it)',
    );
  if (config.slots !== null && config.slots > config.batchTokens)
    problems.push(
      `${origins.batchTokens} ${config.batchTokens}: must be at least the number of slots (${config.slots})`,
    );
  if (config.role !== 'all' && config.redisUrl === null)
    problems.push(`${origins.role} ${config.role}: needs --redis-url`);
  return problems;
}

function unknownWordProblems(words: readonly string[]): string[] {
  const known = serveOptions.map((definition) => definition.flag);
  const problems: string[] = [];
  let afterUnknownFlag = false;
  for (const word of words) {
    if (word.startsWith('-') && word !== '-') {
      const flag = word.split('=')[0]!;
      const nearest = nearestWord(flag, known);
      problems.push(`${flag}: unknown option${nearest === null ? '' : `; did you mean ${nearest}?`}`);
      afterUnknownFlag = true;
    } else if (afterUnknownFlag) {
      // Most likely the value of the unknown flag before it.
      afterUnknownFlag = false;
    } else {
      problems.push(unknownArgumentProblem(word));
    }
  }
  return problems;
}

const commandNames = ['serve', 'batch', 'pull', 'doctor', 'bench', 'plan', 'build-native'];

function unknownArgumentProblem(word: string): string {
  const nearest = nearestWord(word, commandNames);
  if (nearest !== null) return `${word}: unknown command; did you mean ${nearest}?`;
  return /\.gguf$|^hf:/.test(word)
    ? `${word}: unexpected argument; write --model ${word}`
    : `${word}: unexpected argument`;
}

function unknownEnvironmentWarnings(environment: ConfigSources['environment']): string[] {
  const known = serveOptions.map((definition) => definition.environmentName);
  return Object.keys(environment)
    .filter((name) => name.startsWith('CHAIRLIFT_') && !known.includes(name))
    .flatMap((name) => {
      const suffixes = known.map((knownName) => knownName.slice('CHAIRLIFT_'.length));
      const nearest = nearestWord(name.slice('CHAIRLIFT_'.length), suffixes);
      return nearest === null ? [] : [`${name} is not an option; did you mean CHAIRLIFT_${nearest}?`];
    });
}
