import { priorityClasses } from '../../scheduler/index.js';
import { Random } from './random.js';
import type { ClientRequest, Leaving, Scenario, Traffic } from './scenario.js';

/** Milliseconds between the arrivals of request `index - 1` and request `index`. */
export function drawGapMs({ seed, traffic }: Scenario, index: number): number {
  const group = Math.floor(index / traffic.burstSize);
  const isBurst = new Random(seed, `burst ${group}`).chance(traffic.burstShare);
  if (isBurst && index % traffic.burstSize > 0) return 0;
  const gapMs = new Random(seed, `gap ${index}`).exponential(traffic.meanGapMs);
  return isBurst ? gapMs * traffic.burstSize : gapMs;
}

/** @param conversation tokens of the turns before, for a follow-up */
export function drawRequest(scenario: Scenario, label: string, conversation: Uint32Array): ClientRequest {
  const { seed, traffic, config } = scenario;
  const random = new Random(seed, `request ${label}`);
  const maxTokens = random.integer(...traffic.newTokens);
  const tenant = `tenant-${random.weighted(traffic.tenantWeights)}`;
  return {
    label,
    tenant,
    cacheSalt: new Random(seed, tenant).chance(traffic.ownSaltShare) ? tenant : '',
    priorityClass: priorityClasses[random.weighted(traffic.classWeights)]!,
    maxTokens,
    choices: random.chance(traffic.choicesShare) ? random.integer(2, 4) : 1,
    ignoreEndToken: random.chance(traffic.ignoreEndTokenShare),
    deadlineAfterMs: random.chance(traffic.deadlineShare) ? random.integer(...traffic.deadlineMs) : null,
    leaving: drawLeaving(random, traffic, maxTokens),
    stopAfterTokens: random.chance(traffic.stopShare) ? random.integer(1, maxTokens) : null,
    readerLagMs: random.chance(traffic.slowReaderShare) ? random.exponential(traffic.readerLagMs) : 0,
    hasFollowUp: random.chance(traffic.followUpShare),
    prompt: drawPrompt(random, scenario, conversation, config.contextTokens - maxTokens),
  };
}

function drawLeaving(random: Random, traffic: Traffic, maxTokens: number): Leaving {
  if (!random.chance(traffic.leaveShare)) return { when: 'never' };
  switch (random.integer(0, 4)) {
    case 0:
      return { when: 'at-once' };
    case 1:
      return { when: 'started' };
    case 2:
      return { when: 'after-tokens', count: random.integer(1, maxTokens) };
    default:
      return { when: 'after-time', delayMs: random.exponential(traffic.deadlineMs[1] / 4) };
  }
}

/** Now and then longer than the window, to be refused. */
function drawPrompt(
  random: Random,
  { seed, traffic }: Scenario,
  conversation: Uint32Array,
  roomTokens: number,
): Uint32Array {
  const { sharedPrefix, alphabetTokens } = traffic;
  const prompt: number[] = [...conversation];
  if (prompt.length === 0 && random.chance(sharedPrefix.share)) {
    const family = new Random(seed, `prefix ${random.integer(1, sharedPrefix.families)}`);
    for (let index = 0; index < sharedPrefix.tokens; index += 1) {
      prompt.push(family.integer(1, alphabetTokens));
    }
  }
  const drawn = random.integer(...traffic.promptTokens);
  const wanted = random.chance(0.02) ? drawn : Math.min(drawn, Math.max(1, roomTokens));
  // Alike up to a point: a prompt often ends inside the common prefix.
  const length = prompt.length > 0 && random.chance(0.7) ? Math.max(wanted, prompt.length + 1) : wanted;
  while (prompt.length < length) prompt.push(random.integer(1, alphabetTokens));
  const capped = random.chance(0.02) ? length : Math.min(length, Math.max(1, roomTokens));
  return Uint32Array.from(prompt.slice(0, capped));
}
