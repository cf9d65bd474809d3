import { DbError, errorMessage } from '../errors.js';
import { formatLsn, lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { Damage, Extents, FileRange } from './extents.js';
import type { LogFiles } from './files.js';
import { FrameType } from './format.js';
import { replayFrames } from './replay.js';
import { scanFrames } from './scan.js';

const SCRUB_CHUNK = 4 * 1024 * 1024;

export interface ScrubReport {
  /** File bytes read and verified. */
  readonly bytesChecked: number;
  /** Damage that was not known before. */
  readonly found: Damage[];
}

export function describeDamage(damage: Damage): string {
  const range = `[${formatLsn(damage.begin)}, ${formatLsn(damage.end)})`;
  return `${damage.file}: log ${range} is damaged at offset ${damage.offset} (${damage.reason})`;
}

/** Reads the log back from its files. Every frame that is touched is verified; what does not verify is noted as damage and never given out. */
export class LogReader {
  constructor(
    private readonly extents: Extents,
    private readonly files: LogFiles,
    private readonly onDamage: (damage: Damage) => void,
  ) {}

  /** The bytes of [begin, end) in pieces. Throws LOG_DAMAGED. */
  readSync(begin: Lsn, end: Lsn): Buffer[] {
    this.assertUndamaged(begin, end);
    const parts = this.extents.plan(begin, end).map((range) => {
      const buf = this.guarded(range, () => this.files.readSync(range.file, range.from, range.to));
      return this.extract(buf, range);
    });
    return whole(parts.flat(), begin, end);
  }

  async read(begin: Lsn, end: Lsn): Promise<Buffer[]> {
    this.assertUndamaged(begin, end);
    const parts: Buffer[] = [];
    for (const range of this.extents.plan(begin, end)) {
      const buf = await this.files
        .read(range.file, range.from, range.to)
        .catch((err: unknown) => this.guarded(range, () => rethrow(err)));
      parts.push(...this.extract(buf, range));
    }
    return whole(parts, begin, end);
  }

  async scrub(stop?: AbortSignal): Promise<ScrubReport> {
    const before = new Set(this.extents.damages);
    let bytesChecked = 0;
    for (const range of this.extents.everything(SCRUB_CHUNK)) {
      if (stop?.aborted) break;
      const buf = await this.files.read(range.file, range.from, range.to).catch((err: unknown) => {
        this.note(range, range.begin, range.end, range.from, errorMessage(err), null);
        return null;
      });
      if (buf) this.check(buf, range, () => undefined);
      bytesChecked += range.to - range.from;
    }
    return { bytesChecked, found: this.extents.damages.filter((d) => !before.has(d)) };
  }

  private extract(buf: Buffer, range: FileRange): Buffer[] {
    const out: Buffer[] = [];
    this.check(buf, range, (begin, payload) => {
      const from = Math.max(0, range.begin - begin);
      const to = Math.min(payload.length, range.end - begin);
      if (from < to) out.push(payload.subarray(from, to));
    });
    this.assertUndamaged(range.begin, range.end);
    return out;
  }

  /** Scans frames that were all synced: hands out intact ones of the wanted kind, notes damage. */
  private check(buf: Buffer, range: FileRange, give: (begin: Lsn, payload: Buffer) => void): void {
    const wanted = range.healed ? FrameType.heal : FrameType.data;
    const scanned = scanFrames(buf, {
      salt: this.files.saltOf(range.file),
      from: 0,
      sealed: true,
      base: range.from,
    });
    let stand = range.firstLsn;
    for (const item of replayFrames(scanned, range.firstLsn, range.lastLsn)) {
      if (item.kind === 'damage') {
        this.note(range, item.begin, item.end, range.from + item.at, item.reason, item.payloadCrc);
        stand = lsn(Math.max(stand, item.end));
      } else if (item.kind === 'frame' && item.info.type === wanted) {
        give(item.info.begin, item.payload);
        stand = lsn(Math.max(stand, item.info.begin + item.info.length));
      }
    }
    if (stand < range.lastLsn) this.note(range, stand, range.lastLsn, range.to, 'frames are missing', null);
  }

  /** Keeps the part of a damage that the log really uses: not what was cut off, overridden or healed since. */
  private note(
    range: FileRange,
    begin: Lsn,
    end: Lsn,
    offset: number,
    reason: string,
    crc: number | null,
  ): void {
    for (const part of this.extents.inUse(begin, end, range)) {
      if (this.extents.damages.some((d) => d.begin <= part.begin && d.end >= part.end)) continue;
      const exact = part.begin === begin && part.end === end;
      const file = this.files.pathOf(range.file);
      const damage = { ...part, file, offset, reason, payloadCrc: exact ? crc : null };
      this.extents.damage(damage);
      this.onDamage(damage);
    }
  }

  private guarded(range: FileRange, read: () => Buffer): Buffer {
    try {
      return read();
    } catch (err) {
      this.note(range, range.begin, range.end, range.from, errorMessage(err), null);
      const what = `log at ${formatLsn(range.begin)}: cannot read ${this.files.pathOf(range.file)}`;
      throw new DbError('LOG_DAMAGED', `${what}: ${errorMessage(err)}`, { cause: err });
    }
  }

  private assertUndamaged(begin: Lsn, end: Lsn): void {
    const damage = this.extents.damageIn(begin, end);
    if (!damage) return;
    throw new DbError('LOG_DAMAGED', describeDamage(damage), {
      hint: 'The node heals it from a peer; read from another node meanwhile.',
      details: { file: damage.file, begin: damage.begin, end: damage.end, offset: damage.offset },
    });
  }
}

function rethrow(err: unknown): never {
  throw err;
}

/** A hole in the index that is not known as damage is a bug, and must not be passed off as log. */
function whole(parts: Buffer[], begin: Lsn, end: Lsn): Buffer[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  if (length === end - begin) return parts;
  throw new DbError('LOG_BAD_INDEX', `log [${formatLsn(begin)}, ${formatLsn(end)}): ${length} bytes found`, {
    reaction: 'bug',
  });
}
