/**
 * What must hold in every run, judged from outside: the checker sees all writers and disks, which no part of the system does.
 * A log byte is a number that names the record it belongs to, so two different records at one LSN are told apart.
 */
export class Violation extends Error {}

export interface StartedWriter {
  readonly epoch: number;
  /** Its log from the volume's first LSN on. */
  readonly log: readonly number[];
  /** Length of `log` when it began to lead: what it took over. */
  readonly startLength: number;
}

export class Checker {
  /** Every byte that any writer acknowledged. */
  readonly committed: number[] = [];
  /** The epoch that acknowledged each of them first. */
  private readonly by: number[] = [];
  private writers: StartedWriter[] = [];
  /** Per node: the highest epoch whose promise it has sent. */
  private promised = new Map<string, number>();

  fail(what: string): never {
    throw new Violation(what);
  }

  writerStarts(writer: StartedWriter): void {
    if (this.writers.some((w) => w.epoch === writer.epoch))
      this.fail(`two writers lead in epoch ${writer.epoch}`);
    this.writers.push(writer);
    // What a still newer epoch acknowledged meanwhile is none of its business: it will never be acknowledged anything itself.
    const due = this.by.findLastIndex((epoch) => epoch < writer.epoch) + 1;
    this.compare(this.committed.slice(0, due), writer.log, `new epoch ${writer.epoch}`);
  }

  /** The writer acknowledged its log up to `length`. */
  commits(epoch: number, log: readonly number[], length: number): void {
    if (length > log.length) this.fail(`epoch ${epoch} commits ${length} bytes of ${log.length}`);
    const both = Math.min(length, this.committed.length);
    for (let i = 0; i < both; i++)
      if (log[i] !== this.committed[i])
        this.fail(`epoch ${epoch} commits another byte at ${i}: ${log[i]}, not ${this.committed[i]}`);
    for (let i = both; i < length; i++) {
      this.committed.push(log[i]!);
      this.by.push(epoch);
    }
    for (const newer of this.writers) {
      if (newer.epoch <= epoch) continue;
      if (length > newer.startLength)
        this.fail(
          `epoch ${epoch} commits ${length} though epoch ${newer.epoch} started at ${newer.startLength}`,
        );
      this.compare(log.slice(0, length), newer.log, `epoch ${newer.epoch}`);
    }
  }

  nodePromises(node: string, epoch: number): void {
    this.promised.set(node, Math.max(epoch, this.promised.get(node) ?? 0));
  }

  /** It lost its disk and was rebuilt: a promise of an earlier life that elected nobody is none any more. */
  nodeForgets(node: string): void {
    this.promised.delete(node);
  }

  /**
   * A positive answer leaves a node: the disk must hold what it says, and a node that votes may not send it to a fenced writer (one that
   * lost its memory may: its answer does not count).
   */
  nodeAcknowledges(
    node: string,
    votes: boolean,
    epoch: number,
    scl: number,
    disk: { log: readonly number[]; lastEpoch: number },
  ): void {
    const promised = this.promised.get(node) ?? 0;
    if (votes && epoch < promised)
      this.fail(`${node} acknowledges epoch ${epoch} after it promised ${promised}`);
    if (disk.log.length < scl)
      this.fail(`${node} acknowledges ${scl} bytes, its disk has ${disk.log.length}`);
    if (disk.lastEpoch !== epoch)
      this.fail(`${node} acknowledges epoch ${epoch}, its disk is at ${disk.lastEpoch}`);
    const writer = this.writers.find((w) => w.epoch === epoch);
    if (!writer) this.fail(`${node} acknowledges epoch ${epoch} that nobody leads`);
    this.compare(disk.log.slice(0, scl), writer.log, `${node} in epoch ${epoch}`);
  }

  /** A node gives out its log up to `length` to readers. */
  nodeReads(node: string, log: readonly number[], length: number): void {
    if (length > this.committed.length)
      this.fail(`${node} reads ${length} bytes, ${this.committed.length} are committed`);
    this.compare(log.slice(0, length), this.committed, node);
  }

  private compare(prefix: readonly number[], whole: readonly number[], who: string): void {
    if (whole.length < prefix.length)
      this.fail(`${who}: ${prefix.length} acknowledged bytes, only ${whole.length} there`);
    for (let i = 0; i < prefix.length; i++)
      if (prefix[i] !== whole[i])
        this.fail(`${who}: byte ${i} is ${whole[i]}, acknowledged was ${prefix[i]}`);
  }
}
