import { lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { EpochHistory } from '../quorum/types.js';
import { FrameType, MAX_PAYLOAD, encodeHistory } from './format.js';
import type { FrameToWrite } from './files.js';
import type { TailCache } from './tail-cache.js';

/** Payload bytes that one batch takes at most, so that a bulk load cannot hold up the small appends behind it for long. */
const BATCH_BYTES = 8 * 1024 * 1024;

interface DataOp {
  readonly kind: 'data';
  readonly begin: Lsn;
  end: Lsn;
  mark: number;
}
interface HistoryOp {
  readonly kind: 'history';
  readonly cutAt: Lsn;
  readonly history: EpochHistory;
  readonly mark: number;
}
interface HealOp {
  readonly kind: 'heal';
  readonly begin: Lsn;
  readonly bytes: Buffer;
  readonly mark: number;
}
type Op = DataOp | HistoryOp | HealOp;

/** What goes to disk with one sync. */
export interface Batch {
  readonly frames: FrameToWrite[];
  /** The histories of the HISTORY frames, in their order (a pair of frames each). */
  readonly histories: EpochHistory[];
  /** Everything queued up to this mark is in this batch or an earlier one. */
  readonly mark: number;
  /** A cut that came after the batch was taken: its bytes from here on are no longer part of the log. */
  cutAt: Lsn | null;
}

/**
 * What was appended and is not on disk yet, in order. A mark counts queued work (bytes, and 1 for anything else), so that a caller of
 * sync() knows when all that it queued before is durable. Bytes live in the tail cache; adjoining appends share a frame.
 */
export class WriteQueue {
  private ops: Op[] = [];
  private total = 0;

  constructor(private readonly cache: TailCache) {}

  /** Mark of the newest thing queued. */
  get mark(): number {
    return this.total;
  }

  get bytes(): number {
    return this.ops.reduce((sum, op) => sum + (op.kind === 'data' ? op.end - op.begin : 0), 0);
  }

  data(begin: Lsn, length: number): void {
    this.total += length;
    const end = lsn(begin + length);
    const last = this.ops.at(-1);
    if (last?.kind === 'data' && last.end === begin) {
      last.end = end;
      last.mark = this.total;
    } else this.ops.push({ kind: 'data', begin, end, mark: this.total });
  }

  /** The log is cut: what is queued beyond (bytes, and cuts that this one goes below) is not written at all. */
  history(cutAt: Lsn, history: EpochHistory): void {
    this.ops = this.ops.filter((op) => {
      if (op.kind === 'heal') return true;
      if (op.kind === 'history') return op.cutAt <= cutAt;
      if (op.end > cutAt && op.begin < cutAt) {
        op.mark -= op.end - cutAt;
        op.end = cutAt;
      }
      return op.end <= cutAt;
    });
    this.ops.push({ kind: 'history', cutAt, history, mark: ++this.total });
  }

  heal(begin: Lsn, bytes: Buffer): void {
    this.ops.push({ kind: 'heal', begin, bytes, mark: ++this.total });
  }

  /** Takes the next batch off the queue. */
  take(): Batch {
    const batch: Batch = { frames: [], histories: [], mark: 0, cutAt: null };
    let mark = 0;
    let room = BATCH_BYTES;
    while (this.ops.length > 0 && room > 0) {
      const op = this.ops[0]!;
      if (op.kind === 'data') {
        const end = lsn(Math.min(op.end, op.begin + room));
        room -= end - op.begin;
        this.pushData(batch, op.begin, end);
        mark = op.mark - (op.end - end);
        if (end < op.end) {
          this.ops[0] = { ...op, begin: end };
          break;
        }
      } else {
        this.pushOther(batch, op);
        mark = op.mark;
      }
      this.ops.shift();
    }
    return { ...batch, mark };
  }

  private pushData(batch: Batch, from: Lsn, to: Lsn): void {
    for (let begin = from; begin < to; begin = lsn(Math.min(to, begin + MAX_PAYLOAD))) {
      const end = lsn(Math.min(to, begin + MAX_PAYLOAD));
      const pieces = this.cache.views(begin, end);
      batch.frames.push({ type: FrameType.data, begin, pieces, length: end - begin });
    }
  }

  private pushOther(batch: Batch, op: HistoryOp | HealOp): void {
    if (op.kind === 'heal') {
      batch.frames.push({
        type: FrameType.heal,
        begin: op.begin,
        pieces: [op.bytes],
        length: op.bytes.length,
      });
      return;
    }
    const payload = encodeHistory(op.cutAt, op.history);
    const frame = { type: FrameType.history, begin: op.cutAt, pieces: [payload], length: payload.length };
    batch.frames.push(frame, frame);
    batch.histories.push(op.history);
  }
}
