import { invariant } from './assert.js';

/** A stretch of tokens that all its holders have in common; `holders` are those whose tokens reach its end. */
interface Node<Holder> {
  parent: Node<Holder> | null;
  edge: Uint32Array;
  /** Tokens from the root to the end of the edge. */
  depth: number;
  children: Map<number, Node<Holder>>;
  holders: Set<Holder>;
}

/**
 * Who holds which tokens: a radix tree over token ids, one root per namespace, so that no tenant can find out by
 * timing what another has sent. Every slot and every snapshot is one holder of one sequence of tokens.
 * RadixAttention of SGLang (Zheng et al., 2024), at the granularity of whole KV lanes.
 */
export class PrefixIndex<Holder extends object> {
  private readonly roots = new Map<string, Node<Holder>>();
  private readonly ends = new Map<Holder, Node<Holder>>();
  private readonly locks = new Map<Holder, number>();

  get holderCount(): number {
    return this.ends.size;
  }

  /** Tokens of a holder; 0 when it is unknown. */
  length(holder: Holder): number {
    return this.ends.get(holder)?.depth ?? 0;
  }

  /** The holder has exactly these tokens from now on. Keeps views of `tokens`, which must not change. */
  insert(namespace: string, holder: Holder, tokens: Uint32Array): void {
    this.remove(holder);
    if (tokens.length > 0) this.append(this.root(namespace), holder, tokens);
  }

  /** The holder has `tokens` instead of the first part of them that it had: cheap, because only the rest is walked. */
  extend(holder: Holder, tokens: Uint32Array): void {
    const end = this.ends.get(holder);
    invariant(end !== undefined && tokens.length >= end.depth, () => 'extended a holder by fewer tokens');
    if (tokens.length > end.depth) this.append(end, holder, tokens);
  }

  /** The holder keeps its first `length` tokens. */
  truncate(holder: Holder, length: number): void {
    let node = this.ends.get(holder);
    if (!node || node.depth <= length) return;
    invariant(!this.locks.has(holder), () => 'a locked holder was changed');
    let deepestLeft: Node<Holder> | null = null;
    while (node.depth > length) {
      const start: number = node.depth - node.edge.length;
      const above: Node<Holder> = start >= length ? node.parent! : this.split(node, length - start);
      node.holders.delete(holder);
      if (node.holders.size === 0) above.children.delete(node.edge[0]!);
      else deepestLeft ??= node;
      node = above;
    }
    if (length === 0) this.ends.delete(holder);
    else this.ends.set(holder, node);
    if (deepestLeft) this.compress(deepestLeft);
    this.compress(node);
  }

  remove(holder: Holder): void {
    this.truncate(holder, 0);
  }

  /** How many first tokens each holder shares with `tokens`; holders that share none are left out. */
  match(namespace: string, tokens: Uint32Array): Map<Holder, number> {
    const shared = new Map<Holder, number>();
    let node = this.roots.get(namespace);
    let depth = 0;
    while (node && depth < tokens.length) {
      node = node.children.get(tokens[depth]!);
      if (!node) break;
      const common = commonPrefix(node.edge, tokens.subarray(depth));
      depth += common;
      for (const holder of node.holders) shared.set(holder, depth);
      if (common < node.edge.length) break;
    }
    return shared;
  }

  /** How many of the holder's first tokens another holder has too. */
  sharedLength(holder: Holder): number {
    let node: Node<Holder> | null = this.ends.get(holder) ?? null;
    while (node?.parent && node.holders.size < 2) node = node.parent;
    return node?.depth ?? 0;
  }

  /** Until it is unlocked as often, the holder's tokens can neither be cut nor removed. */
  lock(holder: Holder): void {
    this.locks.set(holder, (this.locks.get(holder) ?? 0) + 1);
  }

  unlock(holder: Holder): void {
    const count = this.locks.get(holder) ?? 0;
    invariant(count > 0, () => 'unlocked a holder that is not locked');
    if (count === 1) this.locks.delete(holder);
    else this.locks.set(holder, count - 1);
  }

  isLocked(holder: Holder): boolean {
    return this.locks.has(holder);
  }

  /** @throws InvariantError when the tree is not the smallest one for its holders */
  checkIntegrity(): void {
    const reachable = new Set<Node<Holder>>();
    for (const root of this.roots.values()) {
      invariant(root.children.size > 0, () => 'an empty namespace is kept');
      for (const [first, child] of root.children) this.checkNode(child, first, root, reachable);
    }
    for (const [holder, end] of this.ends) {
      invariant(reachable.has(end) && end.holders.has(holder), () => 'a holder ends outside the tree');
      for (let node: Node<Holder> = end; node.parent; node = node.parent) {
        invariant(node.holders.has(holder), () => 'a holder is missing above its end');
      }
    }
  }

  private checkNode(node: Node<Holder>, first: number, parent: Node<Holder>, seen: Set<Node<Holder>>): void {
    seen.add(node);
    invariant(node.parent === parent && node.edge[0] === first, () => 'a node hangs in the wrong place');
    invariant(node.depth === parent.depth + node.edge.length, () => 'a node has the wrong depth');
    invariant(node.holders.size > 0, () => 'a node without holders is kept');
    let below = 0;
    for (const [token, child] of node.children) {
      this.checkNode(child, token, node, seen);
      below += child.holders.size;
      for (const holder of child.holders) {
        invariant(node.holders.has(holder), () => 'a holder skips a node');
      }
    }
    const endingHere = [...node.holders].filter((holder) => this.ends.get(holder) === node).length;
    invariant(node.holders.size === below + endingHere, () => 'holders of a node do not add up');
    invariant(endingHere > 0 || node.children.size > 1, () => 'a node could be joined with its child');
  }

  private root(namespace: string): Node<Holder> {
    let root = this.roots.get(namespace);
    if (!root) {
      root = { parent: null, edge: noTokens, depth: 0, children: new Map(), holders: new Set() };
      this.roots.set(namespace, root);
    }
    return root;
  }

  private append(from: Node<Holder>, holder: Holder, tokens: Uint32Array): void {
    let node = from;
    while (node.depth < tokens.length) {
      const rest = tokens.subarray(node.depth);
      const child = node.children.get(rest[0]!);
      const common = child ? commonPrefix(child.edge, rest) : 0;
      if (!child) node = this.grow(node, holder, tokens);
      else node = common < child.edge.length ? this.split(child, common) : child;
      node.holders.add(holder);
    }
    this.ends.set(holder, node);
    if (from.parent) this.compress(from);
  }

  private grow(parent: Node<Holder>, holder: Holder, tokens: Uint32Array): Node<Holder> {
    const edge = tokens.subarray(parent.depth);
    const leaf: Node<Holder> = {
      parent,
      edge,
      depth: tokens.length,
      children: new Map(),
      holders: new Set([holder]),
    };
    parent.children.set(edge[0]!, leaf);
    return leaf;
  }

  /** @returns the upper part, `length` tokens of the node's edge */
  private split(node: Node<Holder>, length: number): Node<Holder> {
    const parent = node.parent!;
    const upper: Node<Holder> = {
      parent,
      edge: node.edge.subarray(0, length),
      depth: parent.depth + length,
      children: new Map(),
      holders: new Set(node.holders),
    };
    parent.children.set(upper.edge[0]!, upper);
    node.edge = node.edge.subarray(length);
    node.parent = upper;
    upper.children.set(node.edge[0]!, node);
    return upper;
  }

  /** Joins a node that no holder needs as its end with its only child, or drops an empty root. */
  private compress(node: Node<Holder>): void {
    if (!node.parent) {
      if (node.children.size === 0) this.dropRoot(node);
      return;
    }
    if (node.children.size !== 1) return;
    const [child] = node.children.values();
    if (!child || child.holders.size !== node.holders.size) return;
    child.edge = joined(node.edge, child.edge);
    child.parent = node.parent;
    child.parent.children.set(child.edge[0]!, child);
  }

  private dropRoot(root: Node<Holder>): void {
    for (const [namespace, candidate] of this.roots) {
      if (candidate !== root) continue;
      this.roots.delete(namespace);
      return;
    }
  }
}

const noTokens = new Uint32Array(0);

function commonPrefix(left: Uint32Array, right: Uint32Array): number {
  const limit = Math.min(left.length, right.length);
  let shared = 0;
  while (shared < limit && left[shared] === right[shared]) shared += 1;
  return shared;
}

/** Without copying when one view follows the other in memory. */
function joined(first: Uint32Array, second: Uint32Array): Uint32Array {
  if (first.buffer === second.buffer && first.byteOffset + first.byteLength === second.byteOffset) {
    return new Uint32Array(first.buffer as ArrayBuffer, first.byteOffset, first.length + second.length);
  }
  const whole = new Uint32Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
