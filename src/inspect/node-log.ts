/** A storage node's log folder as a WAL source. */
import { lsn, type Lsn } from '../engine/lsn.js';
import { ReadOnlyLog } from '../engine/log/read-only.js';
import { LONG_PAGE_HEADER } from '../engine/wal/format.js';
import { probeLongHeader } from '../engine/wal/page-header.js';
import type { WalSource } from '../engine/wal/reader.js';

const MIB = 1024 * 1024;
/** PostgreSQL's own default, and its limit. */
const USUAL_SEGMENT = 16 * MIB;
const MAX_SEGMENT = 1024 * MIB;

export class NodeLogSource implements WalSource {
  readonly start: Lsn;
  /** A node's log begins where its pages were imported, at a record boundary, until old log is given up. */
  readonly firstRecord?: Lsn;
  readonly end: Lsn;

  private constructor(
    readonly log: ReadOnlyLog,
    readonly segmentSize: number,
    readonly systemId: bigint | undefined,
  ) {
    this.start = log.startLsn;
    if (log.fromImport) this.firstRecord = log.startLsn;
    this.end = log.endLsn;
  }

  /** Throws USAGE_LOG_DIRECTORY, LOG_DAMAGED. */
  static async open(dir: string): Promise<NodeLogSource> {
    const log = await ReadOnlyLog.open(dir);
    const header = await firstLongHeader(log);
    return new NodeLogSource(log, header?.segmentSize ?? segmentWithout(log), header?.systemId);
  }

  /** Up to the next damage, if there is any; throws LOG_DAMAGED when that is at `begin`. */
  read(begin: Lsn, end: Lsn): Promise<Buffer> {
    const damage = this.log.damages.find((d) => d.begin > begin && d.begin < end);
    const upTo = Math.min(end, damage?.begin ?? end, this.end);
    return this.log.read(begin, lsn(Math.max(begin, upTo)));
  }

  async close(): Promise<void> {
    this.log.close();
  }
}

/** Segments start at multiples of 1 MiB at least, and their first page says how long they are. */
async function firstLongHeader(log: ReadOnlyLog): Promise<ReturnType<typeof probeLongHeader>> {
  for (let at = nextMultiple(log.startLsn, MIB); at + LONG_PAGE_HEADER <= log.endLsn; at += MIB) {
    const header = probeLongHeader(await log.read(lsn(at), lsn(at + LONG_PAGE_HEADER)));
    if (header?.pageLsn === at) return header;
  }
  return null;
}

/** No segment begins inside this log, so any size will do of which no multiple lies inside. */
function segmentWithout(log: ReadOnlyLog): number {
  for (let size = USUAL_SEGMENT; size < MAX_SEGMENT; size *= 2)
    if (nextMultiple(log.startLsn, size) >= log.endLsn) return size;
  return MAX_SEGMENT;
}

function nextMultiple(value: number, of: number): number {
  return Math.ceil(value / of) * of;
}
