import type { Terminal } from '../../src/cli/terminal.js';

export interface FakeTerminal extends Terminal {
  output: string;
  errors: string;
}

/** Nothing of the real environment leaks in. */
export function fakeTerminal(environment: Record<string, string> = {}, interactive = false): FakeTerminal {
  const terminal: FakeTerminal = {
    output: '',
    errors: '',
    writeOutput: (text) => {
      terminal.output += text;
    },
    writeError: (text) => {
      terminal.errors += text;
    },
    isOutputInteractive: interactive,
    isErrorInteractive: interactive,
    environment,
  };
  return terminal;
}
