import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import ts from 'typescript';
import type { CreateScheduler } from '../../src/simulation/simulation.js';
import type { Mutant } from './mutants.js';

const schedulerFolder = fileURLToPath(new URL('../../scheduler/', import.meta.url));

/** Compiles copies of scheduler/ in which one text was replaced. */
export class MutantWorkshop {
  private readonly folder = mkdtempSync(join(tmpdir(), 'chairlift-mutants-'));
  private readonly sources = new Map<string, string>();
  private readonly compiled = new Map<string, string>();

  constructor() {
    writeFileSync(join(this.folder, 'package.json'), '{"type":"module"}');
    for (const name of readdirSync(schedulerFolder)) {
      if (!name.endsWith('.ts')) continue;
      const source = readFileSync(join(schedulerFolder, name), 'utf8');
      this.sources.set(name, source);
      this.compiled.set(name, compile(source));
    }
  }

  /** @throws Error when the text to replace is not there exactly once: the mutant has to follow the scheduler */
  async load({ name, file, from, to }: Mutant, index: number): Promise<CreateScheduler> {
    const source = this.sources.get(file);
    const pieces = source?.split(from) ?? [];
    if (pieces.length !== 2) {
      throw new Error(`mutant "${name}": its text occurs ${pieces.length - 1} times in scheduler/${file}`);
    }
    const folder = join(this.folder, String(index));
    mkdirSync(folder);
    for (const [each, code] of this.compiled) {
      writeFileSync(
        join(folder, each.replace(/\.ts$/, '.js')),
        each === file ? compile(pieces.join(to)) : code,
      );
    }
    const module = await import(pathToFileURL(join(folder, 'scheduler.js')).href);
    return (config, policy) => new module.Scheduler(config, policy);
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function compile(source: string): string {
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 };
  return ts.transpileModule(source, { compilerOptions }).outputText;
}
