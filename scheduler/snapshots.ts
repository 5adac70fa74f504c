import type { CacheEntry, Eviction } from './eviction.js';
import type { SaveReport } from './ports.js';
import type { PrefixIndex } from './prefix-index.js';
import type { Slot } from './slot.js';
import type { SlotCosts } from './slot-costs.js';

/** More would slow down every look-up for little. */
const maxSnapshots = 1024;

/** A full or broken store is tried again after so many snapshots at most. */
const maxSkips = 256;

/** A slot's state parked in a file. */
export interface Snapshot extends CacheEntry {
  readonly kind: 'snapshot';
  readonly id: number;
  readonly tokens: number;
  /** Estimated until its save is reported. */
  bytes: number;
  isSaved: boolean;
  restores: number;
  /** Earlier states of the same conversation: not needed any more once this one is saved. */
  earlier: readonly Snapshot[];
}

export interface SnapshotsOptions {
  limitBytes: number;
  /** null: not known before the first save. */
  bytesPerToken: number | null;
  /** Where `add` makes the snapshots known. */
  index: PrefixIndex<Slot | Snapshot>;
  eviction: Eviction;
  costs: SlotCosts;
  /** Told about every snapshot that had to make room. */
  onEvicted: () => void;
}

/** Which snapshots exist, within a limit of bytes; the files are the engine's. */
export class Snapshots {
  /** Dropped since they were last taken; their files are to be removed. */
  private forgotten: number[] = [];
  private locked: Snapshot[] = [];
  private readonly byId = new Map<number, Snapshot>();
  private readonly limitBytes: number;
  private readonly index: PrefixIndex<Slot | Snapshot>;
  private readonly eviction: Eviction;
  private readonly costs: SlotCosts;
  private totalBytes = 0;
  private bytesPerToken: number | null;
  private nextId = 1;
  private failuresInRow = 0;
  /** So many snapshots are not tried, because the last ones could not be saved. */
  private skipsLeft = 0;
  private readonly onEvicted: () => void;

  constructor(options: SnapshotsOptions) {
    this.limitBytes = options.limitBytes;
    this.bytesPerToken = options.bytesPerToken;
    this.index = options.index;
    this.eviction = options.eviction;
    this.costs = options.costs;
    this.onEvicted = options.onEvicted;
  }

  get count(): number {
    return this.byId.size;
  }

  get bytes(): number {
    return this.totalBytes;
  }

  /** Whether a snapshot of so many tokens could be kept at all; one at a time until their size is known. */
  canHold(tokens: number): boolean {
    if (this.limitBytes === 0 || this.skipsLeft > 0) return false;
    if (this.bytesPerToken === null) return this.byId.size === 0;
    return tokens * this.bytesPerToken <= this.limitBytes;
  }

  /** @returns null when those worth keeping leave no room, or saving has failed lately */
  add(namespace: string, tokens: Uint32Array, worthMs: number): Snapshot | null {
    if (this.skipsLeft > 0) {
      this.skipsLeft -= 1;
      return null;
    }
    const bytes = Math.ceil(tokens.length * (this.bytesPerToken ?? 0));
    if (!this.canHold(tokens.length) || !this.makeRoom(bytes, worthMs)) return null;
    const snapshot: Snapshot = {
      kind: 'snapshot',
      id: this.nextId,
      tokens: tokens.length,
      bytes,
      isSaved: false,
      restores: 0,
      earlier: this.earlierStates(namespace, tokens),
      uses: 1,
      credit: 0,
      isBulk: false,
    };
    this.nextId += 1;
    this.eviction.refresh(snapshot);
    this.byId.set(snapshot.id, snapshot);
    this.totalBytes += bytes;
    this.index.insert(namespace, snapshot, tokens);
    return snapshot;
  }

  /** @returns false when the snapshot came to nothing */
  saved({ snapshotId, bytes }: SaveReport): boolean {
    const snapshot = this.byId.get(snapshotId);
    if (!snapshot) return true;
    if (bytes === null) {
      this.drop(snapshotId);
      this.failuresInRow += 1;
      this.skipsLeft = Math.min(maxSkips, 2 ** this.failuresInRow);
      return false;
    }
    this.failuresInRow = 0;
    this.totalBytes += bytes - snapshot.bytes;
    snapshot.bytes = bytes;
    snapshot.isSaved = true;
    this.bytesPerToken = bytes / snapshot.tokens;
    this.replace(snapshot.earlier);
    snapshot.earlier = [];
    this.makeRoom(0, Number.POSITIVE_INFINITY);
    return true;
  }

  /** A plan restores it: it must not go before the plan was applied. */
  restoring(snapshot: Snapshot): void {
    snapshot.restores += 1;
    this.index.lock(snapshot);
    this.locked.push(snapshot);
  }

  /** The plan was applied. */
  restored(): void {
    for (const snapshot of this.locked) this.index.unlock(snapshot);
    this.locked = [];
  }

  drop(snapshotId: number): void {
    const snapshot = this.byId.get(snapshotId);
    if (!snapshot) return;
    this.byId.delete(snapshotId);
    this.index.remove(snapshot);
    this.totalBytes -= snapshot.bytes;
    this.forgotten.push(snapshotId);
  }

  takeForgotten(): number[] {
    const ids = this.forgotten;
    this.forgotten = [];
    return ids;
  }

  private earlierStates(namespace: string, tokens: Uint32Array): Snapshot[] {
    return [...this.index.match(namespace, tokens)].flatMap(([holder, shared]) =>
      holder.kind === 'snapshot' && shared === holder.tokens ? holder : [],
    );
  }

  /** What several have restored stays: alone it is cheaper to restore. */
  private replace(earlier: readonly Snapshot[]): void {
    for (const { id, restores, isSaved } of earlier) if (isSaved && restores <= 1) this.drop(id);
  }

  /** Drops the least valuable until so many more bytes fit, unless that would cost more than `worthMs`. */
  private makeRoom(bytes: number, worthMs: number): boolean {
    while (this.totalBytes + bytes > this.limitBytes || this.byId.size >= maxSnapshots) {
      const victim = this.leastWorth();
      if (!victim || victim.worthMs > worthMs) return false;
      this.eviction.evicted(victim.snapshot, victim.recomputeMs);
      this.drop(victim.snapshot.id);
      this.onEvicted();
    }
    return true;
  }

  private leastWorth(): { snapshot: Snapshot; recomputeMs: number; worthMs: number } | null {
    let least: { snapshot: Snapshot; recomputeMs: number; worthMs: number } | null = null;
    for (const snapshot of this.byId.values()) {
      if (!snapshot.isSaved || this.index.isLocked(snapshot)) continue;
      const shared = this.index.sharedLength(snapshot);
      const recomputeMs = this.costs.prefillMs(snapshot.tokens - shared, shared);
      const worthMs = this.eviction.worthMs(snapshot, recomputeMs);
      if (least === null || worthMs < least.worthMs) least = { snapshot, recomputeMs, worthMs };
    }
    return least;
  }
}
