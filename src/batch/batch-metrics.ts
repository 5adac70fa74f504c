import { Counter, Gauge, type Registry } from 'prom-client';
import type { BatchStatus } from './batch-record.js';
import type { JournalEntry } from './journal.js';

const endings: readonly BatchStatus[] = ['completed', 'failed', 'expired', 'cancelled'];

/** What batch jobs of this process do. Jobs come and go without number, so none has a label of its own. */
export class BatchMetrics {
  private readonly lines: Counter<'outcome'>;
  private readonly tokens: Counter<'kind'>;
  private readonly ended: Counter<'status'>;

  constructor(registry: Registry, read: () => { running: number; linesInFlight: number; linesLeft: number }) {
    const registers = [registry];
    this.lines = new Counter({
      name: 'chairlift_batch_lines_total',
      help: 'Lines of batch jobs: answered, refused for good, put off because nobody could answer then.',
      labelNames: ['outcome'],
      registers,
    });
    this.tokens = new Counter({
      name: 'chairlift_batch_tokens_total',
      help: 'Tokens of answered lines of batch jobs; cached ones are also prompt tokens.',
      labelNames: ['kind'],
      registers,
    });
    this.ended = new Counter({
      name: 'chairlift_batch_jobs_total',
      help: 'Batch jobs that this process brought to an end, by status.',
      labelNames: ['status'],
      registers,
    });
    for (const outcome of ['completed', 'failed', 'delayed']) this.lines.inc({ outcome }, 0);
    for (const status of endings) this.ended.inc({ status }, 0);
    const gauge = (name: string, help: string, key: keyof ReturnType<typeof read>) =>
      new Gauge({
        name: `chairlift_batch_${name}`,
        help,
        registers,
        collect() {
          this.set(read()[key]);
        },
      });
    gauge('jobs_running', 'Batch jobs that this process runs.', 'running');
    gauge('lines_in_flight', 'Lines of batch jobs under way in this process.', 'linesInFlight');
    gauge('lines_left', 'Lines without an answer in the jobs that this process runs.', 'linesLeft');
  }

  lineAnswered({ failed, tokens }: JournalEntry): void {
    const [prompt, cached, completion] = tokens;
    this.lines.inc({ outcome: failed ? 'failed' : 'completed' });
    this.tokens.inc({ kind: 'prompt' }, prompt);
    this.tokens.inc({ kind: 'cached' }, cached);
    this.tokens.inc({ kind: 'completion' }, completion);
  }

  lineDelayed(): void {
    this.lines.inc({ outcome: 'delayed' });
  }

  jobEnded(status: BatchStatus): void {
    this.ended.inc({ status });
  }
}
