import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { ModelDescription } from '../serving/serving-core.js';
import type { RedisLink } from './redis-link.js';
import type { RedisScripts } from './redis-scripts.js';

const beatMs = 1_000;
/** Not heard of for this long: gone. */
const ttlMs = 5_000;
/** After an outage everybody needs a moment to be heard of again. */
const graceMs = 3_000;

const announcement = Type.Object({
  /** null: a gateway. */
  model: Type.Union([
    Type.Object({
      id: Type.String(),
      createdSeconds: Type.Number(),
      source: Type.String(),
      sizeBytes: Type.Number(),
      contextTokens: Type.Number(),
      slotCount: Type.Number(),
    }),
    Type.Null(),
  ]),
  finishedPerSecond: Type.Number(),
});

export interface Announcement {
  model: ModelDescription | null;
  finishedPerSecond: number;
}

/** Says once a second that this process lives, and knows who else does. Also finds out whether Redis takes writes. */
export class NodeDirectory {
  private readonly link: RedisLink;
  private readonly scripts: RedisScripts;
  private readonly nodeId: string;
  private readonly announce: () => Announcement;
  private nodes = new Map<string, Announcement>();
  private readonly missingSinceMs = new Map<string, number>();
  private knownModel: ModelDescription | null = null;
  private timer: NodeJS.Timeout | null = null;
  onBeat: () => void = () => {};

  constructor(link: RedisLink, scripts: RedisScripts, nodeId: string, announce: () => Announcement) {
    this.link = link;
    this.scripts = scripts;
    this.nodeId = nodeId;
    this.announce = announce;
  }

  start(): void {
    this.link.onUp(() => void this.beat());
    this.timer = setInterval(() => void this.beat(), beatMs).unref();
  }

  /** The model of the workers, also while none is there any more; null: none has been seen. */
  get model(): ModelDescription | null {
    return this.knownModel;
  }

  /** Slots of all workers together. */
  get slotCount(): number {
    let sum = 0;
    for (const { model } of this.nodes.values()) sum += model?.slotCount ?? 0;
    return sum;
  }

  /** Sequences that all workers together finish per second. */
  get finishedPerSecond(): number {
    let sum = 0;
    for (const { finishedPerSecond } of this.nodes.values()) sum += finishedPerSecond;
    return sum;
  }

  /** Whether a process has been silent so long that its clients are gone with it. */
  isGone(nodeId: string): boolean {
    if (nodeId === this.nodeId || this.nodes.has(nodeId)) {
      this.missingSinceMs.delete(nodeId);
      return false;
    }
    const nowMs = performance.now();
    const sinceMs = this.missingSinceMs.get(nodeId) ?? nowMs;
    this.missingSinceMs.set(nodeId, sinceMs);
    return nowMs - sinceMs > graceMs;
  }

  async close(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
    if (this.link.state === 'up') await this.scripts.farewell(this.nodeId).catch(() => {});
  }

  private async beat(): Promise<void> {
    try {
      const texts = await this.scripts.beat(this.nodeId, JSON.stringify(this.announce()), ttlMs);
      this.link.noteHealth();
      this.nodes = new Map([...texts].flatMap(([id, text]) => parseNode(id, text)));
      for (const { model } of this.nodes.values()) if (model) this.knownModel = model;
      this.onBeat();
    } catch (error) {
      this.link.noteTrouble(error);
      // Nobody can be heard of now; that is no reason to think they are gone.
      this.missingSinceMs.clear();
    }
  }
}

function parseNode(id: string, text: string): [string, Announcement][] {
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(announcement, value) ? [[id, value]] : [];
  } catch {
    return [];
  }
}
