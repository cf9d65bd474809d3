/**
 * Where `inspect wal` reads: a volume, a storage node's folder, a pg_wal folder or one segment file, told apart by what is there. What only
 * one of them needs is loaded for that one: a segment file needs neither network nor database.
 */
import { existsSync, promises as fs, type Stats } from 'node:fs';
import path from 'node:path';
import { DbError, errnoWords } from '../engine/errors.js';
import type { Lsn } from '../engine/lsn.js';
import { openWalDirectory, parseSegmentFileName } from '../engine/wal/segments.js';
import type { WalSource } from '../engine/wal/reader.js';
import type { VolumeTool } from './volume.js';

export interface WalInput {
  readonly source: WalSource;
  /** Where to begin and end when nothing else is said: a segment file's own bounds. */
  readonly start?: Lsn;
  readonly end?: Lsn;
  /** What the source belongs to. */
  readonly place: WalPlace;
  /** Why the log does not go on, when the place itself knows (a torn write); shown after the last record. */
  readonly tornTail?: string;
}

/** A running volume, a storage node's folder, or the folder with the segment files of some PostgreSQL. */
export type WalPlace =
  | { readonly kind: 'volume'; readonly volume: VolumeTool }
  | { readonly kind: 'node'; readonly dir: string }
  | { readonly kind: 'folder'; readonly dir: string };

/** `target` is a path, or else `cluster` is a cluster's directory. Throws USAGE_*, CLUSTER_MISSING, INSPECT_NO_NODE, LOG_*, WAL_NOT_PG18. */
export async function openWalInput(
  target: string | undefined,
  cluster: string | undefined,
): Promise<WalInput> {
  if (target === undefined) return openVolume(cluster!);
  const stat = await statOf(target);
  if (stat.isFile()) return openSegment(target);
  if (existsSync(path.join(target, 'cluster.db'))) return openVolume(target);
  if (existsSync(path.join(target, 'log')) && existsSync(path.join(target, 'identity.db')))
    return openNodeLog(path.join(target, 'log'));
  if ((await readdir(target)).some((name) => /^\d{8}\.log$/.test(name))) return openNodeLog(target);
  return openFolder(target);
}

async function openFolder(target: string): Promise<WalInput> {
  const source = await openWalDirectory(target);
  return { source, place: { kind: 'folder', dir: source.dir } };
}

async function openVolume(root: string): Promise<WalInput> {
  const { VolumeTool } = await import('./volume.js');
  const { VolumeLogSource } = await import('./volume-log.js');
  const volume = await VolumeTool.open(root);
  try {
    return { source: await VolumeLogSource.open(volume), place: { kind: 'volume', volume } };
  } catch (err) {
    volume.close();
    throw err;
  }
}

async function openNodeLog(dir: string): Promise<WalInput> {
  const { NodeLogSource } = await import('./node-log.js');
  const source = await NodeLogSource.open(dir);
  const { tornTail } = source.log;
  const place = { kind: 'node', dir: path.dirname(path.resolve(dir)) } as const;
  if (!tornTail) return { source, place };
  return { source, place, tornTail: `incomplete write in ${tornTail.file} at offset ${tornTail.offset}` };
}

async function openSegment(file: string): Promise<WalInput> {
  const dir = path.dirname(path.resolve(file));
  const name = path.basename(file);
  if (!/^[0-9A-F]{24}$/.test(name))
    throw new DbError('USAGE_WAL_FILE', `"${file}" is not a WAL segment file`, {
      hint: 'Segment files have 24 hexadecimal digits as name, e.g. 000000010000000000000001.',
    });
  const source = await openWalDirectory(dir, { timeline: parseInt(name.slice(0, 8), 16) });
  const { segmentSize } = source;
  const parsed = parseSegmentFileName(name, segmentSize);
  if (!parsed) {
    await source.close();
    throw new DbError('USAGE_WAL_FILE', `"${file}" is not a segment of ${segmentSize} bytes`);
  }
  const start = (parsed.segmentNumber * segmentSize) as Lsn;
  return { source, place: { kind: 'folder', dir }, start, end: (start + segmentSize) as Lsn };
}

async function statOf(target: string): Promise<Stats> {
  try {
    return await fs.stat(target);
  } catch (cause) {
    throw cannotRead(target, cause);
  }
}

async function readdir(dir: string): Promise<string[]> {
  try {
    return await fs.readdir(dir);
  } catch (cause) {
    throw cannotRead(dir, cause);
  }
}

function cannotRead(target: string, cause: unknown): DbError {
  return new DbError('USAGE_PATH', `could not open "${target}": ${errnoWords(cause)}`, { cause });
}
