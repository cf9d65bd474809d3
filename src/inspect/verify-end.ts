/** Whether a log ended where it ends, or is damaged there. */
import path from 'node:path';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { LONG_PAGE_HEADER } from '../engine/wal/format.js';
import { probeLongHeader } from '../engine/wal/page-header.js';
import type { WalEnd, WalSource } from '../engine/wal/reader.js';
import { recordStartAt } from '../engine/wal/writer.js';
import { controlFileOf } from './verify-base.js';
import type { WalInput } from './wal-input.js';

/** Null when `end` is where the writer stopped; else what is wrong there. */
export async function logProblem(input: WalInput, end: WalEnd): Promise<string | null> {
  if (end.kind === 'limit' || end.kind === 'aborted') return null;
  const at = `the log cannot be read beyond ${formatLsn(end.lsn)}`;
  if (input.tornTail !== undefined) return `${at}: ${input.tornTail}`;
  const { source, place } = input;
  if (source.end !== null) return end.lsn >= source.end ? null : `${at}: ${end.reason}`;
  if (end.kind === 'invalid' && !(await isUnused(source, end))) return `${at}: ${end.reason}`;
  const later = await laterSegment(source, end.lsn);
  if (later !== null) return `${at}: ${end.reason}; there is more at ${formatLsn(later)}`;
  if (place.kind !== 'folder') return null;
  const control = await controlFileOf(path.dirname(place.dir));
  const isTheirs = control !== null && source.systemId?.toString() === control.systemIdentifier;
  if (!isTheirs || control.checkpointLsn < end.lsn) return null;
  return `${at}: ${end.reason}; the cluster's last checkpoint is at ${formatLsn(control.checkpointLsn)}`;
}

/** Behind the last record, a page is zeros, and a page not reached yet still is what the recycled segment file held. */
async function isUnused(source: WalSource, end: WalEnd): Promise<boolean> {
  if (end.code === 'WAL_BAD_PAGE') return true;
  if (end.code !== 'WAL_BAD_LENGTH') return false;
  const start = recordStartAt(end.lsn, source.segmentSize);
  const bytes = await source.read(start, (start + 8) as Lsn);
  return bytes.every((byte) => byte === 0);
}

/** Start of the next segment if it has been written. */
async function laterSegment(source: WalSource, at: Lsn): Promise<Lsn | null> {
  const next = ((Math.floor(at / source.segmentSize) + 1) * source.segmentSize) as Lsn;
  const header = probeLongHeader(await source.read(next, (next + LONG_PAGE_HEADER) as Lsn));
  return header?.pageLsn === next ? next : null;
}
