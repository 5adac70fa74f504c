import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BatchInput, InputProblems } from '../../batch/batch-input.js';
import { Claim } from '../../batch/claim.js';
import { writeWhole } from '../../batch/durable-file.js';
import { Journal } from '../../batch/journal.js';
import { LineGate } from '../../batch/line-gate.js';
import { runLines } from '../../batch/run-lines.js';
import type { ServeConfig } from '../../config/config.js';
import { explainStartFailure } from '../start-failure.js';
import { exitCodeOf, type StopSignal, StopSignals } from '../stop-signals.js';
import { formatCount, type Terminal } from '../terminal.js';
import { BatchDisplay } from './batch-display.js';
import type { BatchCommandOptions } from './batch-options.js';
import { type OpenAnswerer, openEngine, openServer } from './open-answerer.js';
import { prepareInput, requireSameInput } from './prepare-input.js';

/** Beyond 0, 1, 2 and signals: the output is whole, but some of its lines are errors. */
export const someLinesFailed = 3;

/** Answers and their order survive in here until the output is written. */
const partialSuffix = '.partial';

/** A problem for the person at the terminal, in one line. */
class CommandProblem extends Error {}

/**
 * Answers every line of a file. What is answered is kept beside the output, so the same command goes on where an
 * interrupted one stopped.
 * @returns the exit code
 */
export async function runBatchCommand(
  config: ServeConfig,
  options: BatchCommandOptions,
  terminal: Terminal,
): Promise<number> {
  const signals = new StopSignals();
  try {
    return await inWorkDirectory(options, (directory, claim) =>
      new BatchCommand({ config, options, terminal, signals, directory, claim }).run(),
    );
  } catch (error) {
    terminal.writeError(`chairlift: ${explain(error, config)}\n`);
    return 1;
  } finally {
    signals.stopListening();
  }
}

function explain(error: unknown, config: ServeConfig): string {
  if (error instanceof CommandProblem) return error.message;
  if (error instanceof InputProblems)
    return `cannot use the input:\n  ${error.message.replaceAll('\n', '\n  ')}`;
  return explainStartFailure(error, config);
}

async function inWorkDirectory(
  { output }: BatchCommandOptions,
  work: (directory: string, claim: Claim) => Promise<number>,
): Promise<number> {
  const isStream = output === '-';
  if (!isStream && existsSync(output))
    throw new CommandProblem(`${output} exists; delete it or choose another --output`);
  const directory = isStream
    ? await mkdtemp(join(tmpdir(), 'chairlift-batch-'))
    : `${output}${partialSuffix}`;
  const claim = await Claim.take(directory);
  if (claim === null) throw new CommandProblem(`another process is writing ${output}`);
  try {
    return await work(directory, claim);
  } finally {
    await claim.release();
    if (isStream) await rm(directory, { recursive: true, force: true });
  }
}

interface CommandParts {
  config: ServeConfig;
  options: BatchCommandOptions;
  terminal: Terminal;
  signals: StopSignals;
  directory: string;
  claim: Claim;
}

class BatchCommand {
  private readonly parts: CommandParts;

  constructor(parts: CommandParts) {
    this.parts = parts;
  }

  async run(): Promise<number> {
    const { config, options, directory, claim } = this.parts;
    const path = await prepareInput(options, directory);
    const { maxBatchLines, maxBodyBytes } = config;
    const rules = { endpoint: null, lenient: true, maxLines: maxBatchLines, maxLineBytes: maxBodyBytes };
    const input = await BatchInput.open(path, rules);
    await requireSameInput(path, directory, () => {
      const message = `${directory} holds answers to another input; delete it to start again`;
      return new CommandProblem(message);
    });
    const journal = await Journal.open(directory, claim.number, input.lineCount);
    try {
      const signal = journal.answered < input.lineCount ? await this.answer(input, journal) : null;
      if (signal !== null) return this.interrupted(signal, input, journal);
      await this.writeOutput(journal);
      return journal.failed === 0 ? 0 : someLinesFailed;
    } finally {
      await input.close();
      await journal.close();
    }
  }

  /** @returns the signal that ended it early, else null */
  private async answer(input: BatchInput, journal: Journal): Promise<StopSignal | null> {
    const { signals, terminal } = this.parts;
    const opening = this.openAnswerer();
    const opened = await Promise.race([opening, signals.first]);
    if (typeof opened === 'string') return opened;
    const { answerer, linesInFlight, close } = opened;
    const display = new BatchDisplay(terminal, journal, input.lineCount);
    display.start();
    try {
      await runLines({
        ...{ input, journal, answerer, gate: new LineGate(() => linesInFlight) },
        ...{ tenant: 'command line', metrics: null, stop: signals.abortSignal },
      });
    } finally {
      display.stop();
      await close();
    }
    return signals.abortSignal.aborted && journal.answered < input.lineCount ? await signals.first : null;
  }

  private openAnswerer(): Promise<OpenAnswerer> {
    const { config, options, terminal, signals } = this.parts;
    return options.server === null
      ? openEngine(config, terminal, signals)
      : openServer(options.server, config, terminal.environment);
  }

  private interrupted(signal: StopSignal, input: BatchInput, journal: Journal): number {
    const { options, terminal } = this.parts;
    const done = `${formatCount(journal.answered)} of ${formatCount(input.lineCount)} lines`;
    const next = options.output === '-' ? 'they are lost' : 'run the same command again to go on';
    terminal.writeError(`${signal}: ${done} are answered; ${next}\n`);
    return exitCodeOf(signal);
  }

  private async writeOutput(journal: Journal): Promise<void> {
    const { options, directory } = this.parts;
    if (options.output === '-') {
      // Whoever read it may be gone; the write says so too.
      process.stdout.on('error', () => {});
      for await (const line of journal.outputs('all')) await writeStandardOutput(`${line}\n`);
      return;
    }
    await writeWhole(options.output, true, async (part) => {
      for await (const line of journal.outputs('all')) await part.appendFile(`${line}\n`);
    });
    await rm(directory, { recursive: true, force: true });
  }
}

function writeStandardOutput(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
