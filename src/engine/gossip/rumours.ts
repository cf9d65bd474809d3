/** A rumour is told this many times log2(members) by each node: enough to reach all but surely, and then it is old. */
const TELL_FACTOR = 3;
/** Rumours in one message. */
const PER_MESSAGE = 16;

/** Members whose membership changed a short while ago: what rides on the next messages without being asked for. */
export class Rumours {
  private readonly left = new Map<string, number>();

  tell(id: string, members: number): void {
    this.left.set(id, Math.ceil(TELL_FACTOR * Math.log2(members + 1)));
  }

  forget(id: string): void {
    this.left.delete(id);
  }

  /** Ids for the next message, the least told first. */
  take(): string[] {
    const chosen = [...this.left].sort((a, b) => b[1] - a[1]).slice(0, PER_MESSAGE);
    for (const [id, times] of chosen) {
      if (times > 1) this.left.set(id, times - 1);
      else this.left.delete(id);
    }
    return chosen.map(([id]) => id);
  }
}
