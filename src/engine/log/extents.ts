import { lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';

/** One entry of the sparse index per this many bytes of file. */
const POINT_EVERY = 256 * 1024;

/** DATA frames of one file that follow each other in the log without a cut in between. */
export interface Run {
  readonly begin: Lsn;
  end: Lsn;
  readonly file: number;
  /** Flat pairs (LSN, offset of the frame that begins there), ascending; the first is the run's first frame. */
  readonly points: number[];
  /** Offset behind the run's last frame. */
  endOffset: number;
  /** A cut or an override came after: later frames start a new run, even where the LSNs would join. */
  closed: boolean;
}

/** Bytes that a HEAL frame replaces. */
export interface Patch {
  readonly begin: Lsn;
  readonly end: Lsn;
  readonly file: number;
  readonly offset: number;
  readonly frameBytes: number;
}

/** A stretch of a file to read for a stretch of the log. */
export interface FileRange {
  readonly file: number;
  /** Offsets; whole frames. */
  readonly from: number;
  readonly to: number;
  /** LSN where the first frame begins, and where the last one ends as far as it is in use. */
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  /** What is wanted of it. */
  readonly begin: Lsn;
  readonly end: Lsn;
  /** The bytes are in a HEAL frame, else in DATA frames. */
  readonly healed: boolean;
}

/** A part of the log whose bytes on disk are not what was written. */
export interface Damage {
  /** [begin, end): LSNs that cannot be served. Empty when the newest frames are unreadable and it is unknown how far they went. */
  readonly begin: Lsn;
  readonly end: Lsn;
  readonly file: string;
  /** Offset in the file of the damaged frame, or of the first of several. */
  readonly offset: number;
  readonly reason: string;
  /** CRC-32C of exactly these bytes, when header or trailer still tell it: heal() checks against it. */
  readonly payloadCrc: number | null;
}

/**
 * Which file and offset holds which part of the logical log: runs in LSN order that never overlap, patches over them, and damage.
 * About 5 kB of memory per 64 MiB of log.
 */
export class Extents {
  readonly runs: Run[] = [];
  patches: Patch[] = [];
  damages: Damage[] = [];

  /** `base` is the log's first LSN. */
  constructor(private base: Lsn) {}

  /** First LSN of the log. */
  get start(): Lsn {
    return this.base;
  }

  /** End of the log as indexed: damaged and healed stretches count. */
  get end(): Lsn {
    let end = this.runs.at(-1)?.end ?? this.base;
    for (const d of this.damages) if (d.end > end) end = d.end;
    for (const p of this.patches) if (p.end > end) end = p.end;
    return end;
  }

  /** A DATA frame at `offset`. One that begins below the present end overrides the log from there on. */
  add(begin: Lsn, length: number, file: number, offset: number, frameBytes: number): void {
    if (begin < this.end) this.cut(begin);
    const end = lsn(begin + length);
    const last = this.runs.at(-1);
    if (!last || last.closed || last.file !== file || last.end !== begin) {
      this.runs.push({
        begin,
        end,
        file,
        points: [begin, offset],
        endOffset: offset + frameBytes,
        closed: false,
      });
      return;
    }
    if (offset - last.points.at(-1)! >= POINT_EVERY) last.points.push(begin, offset);
    last.end = end;
    last.endOffset = offset + frameBytes;
  }

  /**
   * The log ends at `at` from now on. An empty log may also be moved forward: it then begins there. Nor need a cut stay above the log's first LSN
   * when its oldest files are gone, for what they held below a later cut was replaced.
   */
  cut(at: Lsn): void {
    if (at > this.end) {
      if (this.end === this.base) this.base = at;
      return;
    }
    if (at < this.base) this.base = at;
    while (this.runs.length > 0 && this.runs.at(-1)!.begin >= at) this.runs.pop();
    const last = this.runs.at(-1);
    if (last) {
      last.closed = true;
      last.end = lsn(Math.min(last.end, at));
    }
    this.patches = this.patches.filter((p) => p.begin < at).map((p) => (p.end > at ? { ...p, end: at } : p));
    this.damages = this.damages
      .filter((d) => d.begin < at)
      .map((d) => (d.end > at ? { ...d, end: at, payloadCrc: null } : d));
  }

  /**
   * The log begins with file `first` from now on, which was begun when the log ended at `startLsn`: forgets what is in older ones. Gives the log's
   * new first LSN, which is lower than that where the log was cut below it since.
   */
  dropFilesBefore(first: number, startLsn: Lsn): Lsn {
    while (this.runs.length > 0 && this.runs[0]!.file < first) this.runs.shift();
    const base = lsn(Math.min(startLsn, this.runs[0]?.begin ?? startLsn));
    this.base = base;
    this.patches = this.patches.filter((p) => p.file >= first && p.end > base);
    this.damages = this.damages
      .filter((d) => d.end > base || (d.begin === d.end && d.begin >= base))
      .map((d) => (d.begin < base ? { ...d, begin: base, payloadCrc: null } : d));
    return base;
  }

  /** A damaged stretch at the end of what is indexed so far, or inside it. */
  damage(damage: Damage): void {
    if (this.damages.some((d) => d.begin <= damage.begin && d.end >= damage.end)) return;
    this.damages.push(damage);
    this.damages.sort((a, b) => a.begin - b.begin);
  }

  /** A HEAL frame: its bytes are good again. */
  patch(healed: Patch): void {
    const patch = { ...healed, end: lsn(Math.min(healed.end, this.end)) };
    if (patch.begin >= patch.end || patch.end <= this.base) return;
    this.patches.push(patch);
    this.damages = this.damages.flatMap((d) => {
      if (d.end <= patch.begin || d.begin >= patch.end) return [d];
      const rest = [
        { ...d, end: lsn(Math.min(d.end, patch.begin)), payloadCrc: null },
        { ...d, begin: lsn(Math.max(d.begin, patch.end)), payloadCrc: null },
      ];
      return rest.filter((r) => r.begin < r.end);
    });
  }

  damageIn(begin: Lsn, end: Lsn): Damage | undefined {
    return this.damages.find((d) => d.begin < end && d.end > begin);
  }

  /** Where to read [begin, end), in LSN order. A part that no run covers is left out: the reader sees the gap. */
  plan(begin: Lsn, end: Lsn): FileRange[] {
    const out: FileRange[] = [];
    for (let at = begin; at < end; at = out.at(-1)!.end) {
      const from = at;
      const patch = this.patches.findLast((p) => p.begin <= from && p.end > from);
      if (patch) {
        out.push(patchRange(patch, from, lsn(Math.min(patch.end, end))));
        continue;
      }
      const run = this.runAt(from);
      if (!run) break;
      const nextPatch = this.patches.reduce(
        (min, p) => (p.begin > from ? Math.min(min, p.begin) : min),
        Infinity,
      );
      out.push(runRange(run, from, lsn(Math.min(run.end, end, nextPatch))));
    }
    return out;
  }

  /** Everything in use on disk, in stretches of about `chunkBytes` of file: what a scrub reads. */
  *everything(chunkBytes: number): Generator<FileRange, void> {
    for (const run of [...this.runs]) {
      for (let at = run.begin; at < run.end;) {
        const start = runRange(run, at, lsn(at + 1)).from;
        const { points } = run;
        let next = 0;
        while (next < points.length && points[next + 1]! < start + chunkBytes) next += 2;
        const upTo = lsn(Math.min(run.end, points[next] ?? run.end));
        yield runRange(run, at, upTo);
        at = upTo;
      }
    }
    for (const patch of [...this.patches]) yield patchRange(patch, patch.begin, patch.end);
  }

  /** The parts of [begin, end), found damaged in `range`, that the log really takes from there. */
  inUse(begin: Lsn, end: Lsn, range: FileRange): { begin: Lsn; end: Lsn }[] {
    const out: { begin: Lsn; end: Lsn }[] = [];
    for (const r of this.plan(begin, end))
      if (r.file === range.file && r.healed === range.healed && r.from < range.to && r.to > range.from)
        out.push({ begin: r.begin, end: r.end });
    return out;
  }

  private runAt(at: number): Run | null {
    let lo = 0;
    let hi = this.runs.length - 1;
    while (lo <= hi) {
      const mid = (lo + hi) >> 1;
      const run = this.runs[mid]!;
      if (at < run.begin) hi = mid - 1;
      else if (at >= run.end) lo = mid + 1;
      else return run;
    }
    return null;
  }
}

function patchRange(patch: Patch, begin: Lsn, end: Lsn): FileRange {
  const { file, offset } = patch;
  const [firstLsn, lastLsn] = [patch.begin, patch.end];
  return { file, from: offset, to: offset + patch.frameBytes, firstLsn, lastLsn, begin, end, healed: true };
}

/** From the indexed frame at or before `begin` to the first indexed frame at or after `end` (or the run's end). */
function runRange(run: Run, begin: Lsn, end: Lsn): FileRange {
  const { points, file } = run;
  let lo = 0;
  let hi = points.length / 2 - 1;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if (points[mid * 2]! <= begin) lo = mid;
    else hi = mid - 1;
  }
  let next = lo + 1;
  while (next * 2 < points.length && points[next * 2]! < end) next++;
  return {
    file,
    from: points[lo * 2 + 1]!,
    to: points[next * 2 + 1] ?? run.endOffset,
    firstLsn: lsn(points[lo * 2]!),
    lastLsn: lsn(Math.min(run.end, points[next * 2] ?? run.end)),
    begin,
    end,
    healed: false,
  };
}
