import { invariant } from '../../scheduler/assert.js';
import type { TickPlan } from '../../scheduler/index.js';
import { SimulatedCodec } from '../../src/engine/simulated/simulated-codec.js';
import { SimulatedSlots } from '../../src/engine/simulated/simulated-slots.js';

/** What the simulated engine says after this prompt when nothing disturbs it and it must not end. */
export function simulatedText(prompt: string, tokenCount: number): string {
  const codec = new SimulatedCodec();
  const slots = new SimulatedSlots(1, 1);
  const generated: number[] = [];
  let tokens: ArrayLike<number> = codec.encode(prompt);
  let firstPosition = 0;
  while (generated.length < tokenCount) {
    const rows = [{ slot: 0, firstPosition, tokens, sample: true, sequenceId: 0 }];
    const result = slots.apply({ rows, operations: [] } as unknown as TickPlan, () => true);
    invariant(result.outcome === 'decoded', () => 'the simulated engine never fails by itself');
    firstPosition += tokens.length;
    tokens = [result.sampledTokens[0]!];
    generated.push(result.sampledTokens[0]!);
  }
  return codec.decode(generated);
}
