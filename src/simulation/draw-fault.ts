import { Random } from './random.js';
import { type Fault, faultKinds, isFaultless, type Scenario } from './scenario.js';

const outageTicks = 6;

/** What goes wrong in this tick; mostly nothing. */
export function drawFaults({ seed, faults }: Scenario, tick: number): Fault[] {
  if (isFaultless(faults)) return [];
  const random = new Random(seed, `fault ${tick}`);
  const drawn: Fault[] = [];
  for (const kind of faultKinds) {
    if (random.chance(faults.shares[kind])) drawn.push({ kind, draw: random.nextUint32() });
  }
  const outage = new Random(seed, `outage ${Math.floor(tick / outageTicks)}`);
  if (outage.chance(faults.outageShare) && !drawn.some(({ kind }) => kind === 'failed-call')) {
    drawn.push({ kind: 'failed-call', draw: random.nextUint32() });
  }
  return drawn;
}
