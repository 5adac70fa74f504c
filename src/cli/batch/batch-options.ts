export interface BatchCommandOptions {
  /** A path; `-` reads standard input. */
  input: string;
  /** A path; `-` writes standard output. */
  output: string;
  /** Base URL of an OpenAI-compatible server; null: the engine runs in this process. */
  server: string | null;
  format: 'jsonl' | 'csv';
  promptColumn: string;
}
