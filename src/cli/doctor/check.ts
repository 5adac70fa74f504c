export type CheckStatus = 'ok' | 'warn' | 'fail';

/** One line of the report. `fail` means that `serve` would not start. */
export interface Check {
  name: string;
  status: CheckStatus;
  finding: string;
  /** What to do about it; null when nothing. */
  advice: string | null;
}

export function ok(name: string, finding: string): Check {
  return { name, status: 'ok', finding, advice: null };
}

export function warn(name: string, finding: string, advice: string): Check {
  return { name, status: 'warn', finding, advice };
}

export function fail(name: string, finding: string, advice: string): Check {
  return { name, status: 'fail', finding, advice };
}
