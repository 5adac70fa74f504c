/** What the commands need of the process, so that tests can stand in for it. */
export interface Terminal {
  /** Results: the first screen, the report of `doctor`. */
  writeOutput(text: string): void;
  /** Progress, warnings and errors. */
  writeError(text: string): void;
  isOutputInteractive: boolean;
  isErrorInteractive: boolean;
  environment: Readonly<Record<string, string | undefined>>;
}

export function processTerminal(): Terminal {
  return {
    writeOutput: (text) => void process.stdout.write(text),
    writeError: (text) => void process.stderr.write(text),
    isOutputInteractive: process.stdout.isTTY === true,
    isErrorInteractive: process.stderr.isTTY === true,
    environment: process.env,
  };
}

const colourCodes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;
export type Colour = keyof typeof colourCodes;
export type Paint = (colour: Colour, text: string) => string;

/** Plain text unless a person looks at the output and NO_COLOR is not set. */
export function outputPaint(terminal: Terminal): Paint {
  const coloured = terminal.isOutputInteractive && !terminal.environment.NO_COLOR;
  return (colour, text) => (coloured ? `\u001b[${colourCodes[colour]}m${text}\u001b[0m` : text);
}

export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** 262144 as 262,144, in every locale. */
export function formatCount(count: number): string {
  return count.toLocaleString('en-US');
}
