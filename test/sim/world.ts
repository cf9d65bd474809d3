/**
 * A world without time of its own: events in virtual order, one seeded generator, a network that drops, delays, duplicates, reorders
 * and partitions. Everything random in a run comes from `random`, so a seed replays exactly.
 */
export interface NetworkFaults {
  readonly dropRate: number;
  readonly duplicateRate: number;
  /** Delay of a message: minimum, and the mean of an exponential tail (so that messages overtake each other). */
  readonly delayMin: number;
  readonly delayTail: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class World {
  now = 0;
  faults: NetworkFaults;
  /** Nodes on different sides cannot talk; a name without a side talks to all. */
  private sides = new Map<string, number>();
  private readonly rates = new Map<string, number>();
  private heap: Event[] = [];
  private order = 0;
  private state: number;

  constructor(seed: number, faults: NetworkFaults) {
    this.state = seed >>> 0;
    this.faults = faults;
  }

  /** mulberry32: 0 <= x < 1. */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  chance(rate: number): boolean {
    return this.random() < rate;
  }

  /** Integer in [from, to]. */
  between(from: number, to: number): number {
    return from + Math.floor(this.random() * (to - from + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.between(0, items.length - 1)]!;
  }

  /** Clocks that run fast or slow: a timer of `id` fires after `delay` of its own time. */
  skew(id: string, rate: number): void {
    this.rates.set(id, rate);
  }

  timer(id: string, delay: number, run: () => void): void {
    this.after(delay / (this.rates.get(id) ?? 1), run);
  }

  partition(sides: ReadonlyMap<string, number>): void {
    this.sides = new Map(sides);
  }

  after(delay: number, run: () => void): void {
    const event = { at: this.now + delay, order: this.order++, run };
    let i = this.heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, this.heap[parent]!)) break;
      this.heap[i] = this.heap[parent]!;
      i = parent;
    }
    this.heap[i] = event;
  }

  send(from: string, to: string, deliver: () => void): void {
    const copies = this.chance(this.faults.duplicateRate) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.chance(this.faults.dropRate)) continue;
      const tail = -Math.log(1 - this.random()) * this.faults.delayTail;
      this.after(this.faults.delayMin + tail, () => {
        if (this.connected(from, to)) deliver();
      });
    }
  }

  /** Runs events until `until` (virtual time) or until `done` says so; true when it did. */
  run(until: number, done: () => boolean = () => false): boolean {
    while (this.heap.length > 0 && this.heap[0]!.at <= until) {
      const event = this.pop();
      this.now = event.at;
      event.run();
      if (done()) return true;
    }
    this.now = Math.max(this.now, until);
    return done();
  }

  private connected(a: string, b: string): boolean {
    const [x, y] = [this.sides.get(a), this.sides.get(b)];
    return x === undefined || y === undefined || x === y;
  }

  private pop(): Event {
    const top = this.heap[0]!;
    const last = this.heap.pop()!;
    const size = this.heap.length;
    if (size === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && before(this.heap[child + 1]!, this.heap[child]!)) child++;
      if (!before(this.heap[child]!, last)) break;
      this.heap[i] = this.heap[child]!;
      i = child;
    }
    this.heap[i] = last;
    return top;
  }
}

function before(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
