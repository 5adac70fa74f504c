import type { ServeConfig } from '../../config/config.js';
import { locateModel } from '../../models/locate-model.js';
import { type Colour, outputPaint, type Terminal } from '../terminal.js';
import type { Check, CheckStatus } from './check.js';
import { checkMemory } from './memory.js';
import { checkNativeBuild } from './native.js';
import { checkProcessor, checkThreads } from './processor.js';
import { checkAddress, checkModel, checkNode, checkRedis } from './surroundings.js';

/**
 * Reports whether `serve` would start with these options and how well it would run.
 * @returns the exit code: 1 when something would stop `serve`
 */
export async function doctor(config: ServeConfig, asJson: boolean, terminal: Terminal): Promise<number> {
  const checks = await runChecks(config);
  const failed = checks.some((check) => check.status === 'fail');
  if (asJson) terminal.writeOutput(`${JSON.stringify({ ok: !failed, checks }, null, 2)}\n`);
  else terminal.writeOutput(render(checks, terminal));
  return failed ? 1 : 0;
}

async function runChecks(config: ServeConfig): Promise<Check[]> {
  const needsModel = config.engine === 'llama';
  const model = needsModel ? await locateModel(config.model, config.modelCacheDirectory) : null;
  return [
    checkNode(),
    checkProcessor(),
    checkThreads(config.threads),
    ...(needsModel ? [await checkNativeBuild(config.native)] : []),
    checkModel(model, config.offline),
    ...(needsModel ? [await checkMemory(config, model)] : []),
    await checkRedis(config.redisUrl),
    await checkAddress(config),
  ];
}

const colours: Record<CheckStatus, Colour> = { ok: 'green', warn: 'yellow', fail: 'red' };
const nameColumns = 10;

function render(checks: readonly Check[], terminal: Terminal): string {
  const paint = outputPaint(terminal);
  const lines = checks.map(({ name, finding, status, advice }) => {
    const verdict = paint(colours[status], status);
    return `${name.padEnd(nameColumns)} ${finding} - ${verdict}${advice === null ? '' : `: ${advice}`}`;
  });
  const failures = checks.filter((check) => check.status === 'fail').length;
  const summary =
    failures === 0 ? 'chairlift serve can start.' : `chairlift serve cannot start: ${failures} failed.`;
  return `${lines.join('\n')}\n\n${summary}\n`;
}
