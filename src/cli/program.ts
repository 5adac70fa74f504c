import { Command, CommanderError, Option } from 'commander';
import { ConfigError, type LoadedConfig, loadServeConfig } from '../config/load-config.js';
import type { BatchCommandOptions } from './batch/batch-options.js';
import { addServeOptions, configureOptionHelp, flagValues } from './option-flags.js';
import { packageVersion } from './package-version.js';
import { processTerminal, type Terminal } from './terminal.js';

/** Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n ended by signal n. */
const usageExitCode = 2;
const pullOptions = ['model', 'modelCacheDirectory'] as const;
const batchOptions = [
  ...([
    'model',
    'engine',
    'slots',
    'contextTokens',
    'batchTokens',
    'threads',
    'native',
    'itlTargetMs',
  ] as const),
  ...(['calibrate', 'snapshotDirectory', 'snapshotBytes', 'apiKey', 'apiKeyFile', 'logLevel'] as const),
  ...(['offline', 'modelCacheDirectory', 'maxBodyBytes', 'maxBatchLines', 'batchLinesInFlight'] as const),
];

/**
 * Runs one command to its end.
 * @param words the command line without `node` and the script
 * @returns the exit code
 */
export async function runCommandLine(
  words: readonly string[],
  terminal: Terminal = processTerminal(),
): Promise<number> {
  // These have flags of their own.
  if (words[0] === 'bench' || words[0] === 'plan') return await runBench(words[0], words.slice(1), terminal);
  let exitCode = 0;
  const program = buildProgram(terminal, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...words], { from: 'user' });
  } catch (error) {
    if (error instanceof ConfigError) return reportProblems(error.problems, terminal);
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : usageExitCode;
    terminal.writeError(`chairlift: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
  return exitCode;
}

function buildProgram(terminal: Terminal, setExitCode: (code: number) => void): Command {
  const program = new Command('chairlift')
    .description('Continuous-batching inference server for GGUF models with an OpenAI-compatible API.')
    .version(packageVersion(), '-v, --version', 'print the version')
    .exitOverride()
    .configureOutput({ writeOut: terminal.writeOutput, writeErr: terminal.writeError });

  const load = (command: Command, more: Partial<Parameters<typeof loadServeConfig>[0]> = {}) =>
    loadServeConfig({
      flags: flagValues(command),
      environment: terminal.environment,
      unknownWords: command.args,
      ...more,
    });

  const serveCommand = addServeOptions(program.command('serve', { isDefault: true }))
    .description('serve a model (the default command)')
    .action(async () => {
      const { serve } = await import('./serve.js');
      setExitCode(await serve(withWarnings(load(serveCommand), terminal), terminal));
    });

  const pullCommand = addServeOptions(program.command('pull [model]'), pullOptions)
    .description('fetch a model into the model cache: hf:user/repo:quant, or the default model')
    .action(async (model: string | undefined) => {
      const flags = { ...flagValues(pullCommand), ...(model !== undefined && { model }) };
      const unknownWords = pullCommand.args.filter((word) => word !== model);
      const loaded = load(pullCommand, { flags, unknownWords, only: pullOptions });
      const { pull } = await import('./pull.js');
      setExitCode(await pull(withWarnings(loaded, terminal), terminal));
    });

  const batchCommand = addServeOptions(program.command('batch [input]'), batchOptions)
    .description(
      'answer every line of a JSONL file (- or nothing: standard input), in this process or by a server',
    )
    .option(
      '-o, --output <file>',
      'where the answers go, in the order of the input; - is standard output',
      '-',
    )
    .option('--server <url>', 'send the lines to this OpenAI-compatible server instead of running the engine')
    .addOption(new Option('--format <format>', 'of the input').choices(['jsonl', 'csv']).default('jsonl'))
    .option('--prompt-column <name>', 'the column of a CSV file that holds the prompts', 'prompt')
    .addHelpText('after', batchHelp)
    .action(async (input: string | undefined, flags: Omit<BatchCommandOptions, 'input'>) => {
      const unknownWords = batchCommand.args.filter((word) => word !== input);
      const loaded = load(batchCommand, { unknownWords, only: batchOptions });
      const { runBatchCommand } = await import('./batch/batch-command.js');
      const { output, server = null, format, promptColumn } = flags;
      const options = { input: input ?? '-', output, server, format, promptColumn };
      setExitCode(await runBatchCommand(withWarnings(loaded, terminal), options, terminal));
    });

  const doctorCommand = addServeOptions(program.command('doctor'))
    .description('check this machine against the options that serve would get')
    .option('--json', 'print the report as JSON')
    .option('--cost <file>', 'also time the model and write the file that chairlift plan --cost-from reads')
    .action(async (options: { json?: boolean; cost?: string }) => {
      const { doctor } = await import('./doctor/doctor.js');
      const config = withWarnings(load(doctorCommand), terminal);
      const exitCode = await doctor(config, options.json === true, terminal);
      if (exitCode === 0 && options.cost !== undefined) {
        const { writeCost } = await import('./doctor/cost.js');
        await writeCost(config, options.cost, terminal);
      }
      setExitCode(exitCode);
    });

  program
    .command('build-native')
    .description('compile llama.cpp for this processor, from the source in node-llama-cpp')
    .action(async () => {
      const { buildNative } = await import('./build-native/build-native.js');
      setExitCode(await buildNative(terminal));
    });
  program.command('bench').description('measure throughput and latency; see chairlift bench --help');
  program.command('plan').description('slots and workers for a traffic; see chairlift plan --help');
  configureOptionHelp([program, serveCommand, batchCommand, pullCommand, doctorCommand]);
  program.addHelpText('after', () => `\n${serveCommand.helpInformation()}`);
  return program;
}

const batchHelp = `
An interrupted run goes on where it was when the same command is run again: what is answered is kept in OUTPUT.partial.
Exit codes: 0 every line is answered, 1 nothing was written, 2 wrong usage, 3 the output is whole but some lines failed,
128 + n stopped by signal n.`;

function withWarnings({ config, warnings }: LoadedConfig, terminal: Terminal): LoadedConfig['config'] {
  for (const warning of warnings) terminal.writeError(`chairlift: warning: ${warning}\n`);
  return config;
}

function reportProblems(problems: readonly string[], terminal: Terminal): number {
  const count = problems.length === 1 ? 'this option' : `these ${problems.length} options`;
  terminal.writeError(`chairlift: cannot use ${count}:\n`);
  for (const problem of problems) terminal.writeError(`  ${problem}\n`);
  terminal.writeError('chairlift serve --help lists every option.\n');
  return usageExitCode;
}

async function runBench(command: 'bench' | 'plan', words: string[], terminal: Terminal): Promise<number> {
  // Built from variables: an installed package may come without the bench.
  const modules = { bench: '../../bench/cli.js', plan: '../../bench/plan/plan-command.js' };
  try {
    const { runBench: bench, runPlan: plan } = (await import(modules[command])) as BenchModule;
    return await (command === 'bench' ? bench : plan)(words);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    terminal.writeError(`chairlift: this installation comes without ${command}\n`);
    return 1;
  }
}

type BenchModule = Record<'runBench' | 'runPlan', (words: string[]) => Promise<number>>;
