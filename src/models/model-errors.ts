/** No usable model could be had. The message is one line for the user and says what to do. */
export class ModelNotFoundError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'ModelNotFoundError';
  }
}

/** One source refused; the resolution goes on with the next one. The message is one line. */
export class SourceRefusedError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'SourceRefusedError';
  }
}

/** The first line of whatever was thrown, with the cause's code where `fetch` hides it. */
export function firstLine(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const line = error.message.split('\n')[0]!;
  const isOurs = error instanceof SourceRefusedError || error instanceof ModelNotFoundError;
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  return isOurs || code === undefined || line.includes(code) ? line : `${line} (${code})`;
}

/** What `fetch` hides behind "fetch failed": an error code where there is one. */
export function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return (cause as NodeJS.ErrnoException)?.code ?? firstLine(cause);
}
