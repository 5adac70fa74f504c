import { describe, expect, it } from 'vitest';
import { holdTraffic, type VirtualTraffic } from '../support/virtual-traffic.js';

const chat: VirtualTraffic = {
  slots: 32,
  clients: 48,
  seconds: 20,
  turns: 5,
  openingTokens: 64,
  userTokens: 24,
  replyTokens: 32,
  meanThinkMs: 1500,
  fileFactor: () => 1,
  seed: 1,
};
const oneShot: VirtualTraffic = { ...chat, clients: 32, turns: 1, replyTokens: 48, meanThinkMs: 0 };

describe('conversations that outnumber the slots', () => {
  it.each([
    ['as the scheduler was told', {}],
    ['four times slower', { fileFactor: () => 4 }],
    ['held up now and then', { fileFactor: (operation) => (operation % 40 === 0 ? 100 : 1.5) }],
    ['slow, and all users answer at once', { fileFactor: () => 3, meanThinkMs: 1 }],
    ['slow, and there are four per slot', { fileFactor: () => 3, clients: 128, seconds: 60 }],
  ] satisfies [string, Partial<VirtualTraffic>][])(
    'are hardly computed again; files are %s',
    (_, changes) => {
      for (const seed of [1, 2, 3]) {
        const { computedTokens, idealTokens } = holdTraffic({ ...chat, ...changes, seed });
        expect(computedTokens / idealTokens).toBeLessThan(1.1);
      }
    },
  );

  it('leave one snapshot each, not one per turn', () => {
    expect(holdTraffic(chat).snapshotsNow).toBeLessThanOrEqual(chat.clients + 2);
  });
});

describe('conversations that begin after requests that nobody continued', () => {
  it('are hardly computed again', () => {
    for (const seed of [1, 2, 3]) {
      const { computedTokens, idealTokens } = holdTraffic({ ...chat, seconds: 75, oneShotsFirst: 400, seed });
      expect(computedTokens / idealTokens).toBeLessThan(1.1);
    }
  });
});

describe('requests that nobody continues', () => {
  it.each([
    ['nothing in common', {}],
    ['nothing in common, slow files', { fileFactor: () => 4 }],
    ['a shared beginning', { sharedTokens: 200, openingTokens: 16 }],
    ['a shared beginning, slow files', { sharedTokens: 200, openingTokens: 16, fileFactor: () => 4 }],
  ] satisfies [string, Partial<VirtualTraffic>][])(
    'spend about a fiftieth of the time on saves: %s',
    (_, changes) => {
      const short = holdTraffic({ ...oneShot, ...changes, seconds: 20 });
      const long = holdTraffic({ ...oneShot, ...changes, seconds: 100 });
      expect(long.requests).toBeGreaterThan(500);
      expect(short.fileShare).toBeLessThan(0.045);
      expect(long.fileShare).toBeLessThan(0.03);
    },
  );
});
