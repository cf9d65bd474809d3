import path from 'node:path';
import { DbError } from '../errors.js';
import { lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import type { EpochHistory } from '../quorum/types.js';
import { Extents } from './extents.js';
import {
  FrameType,
  HEADER_AREA,
  decodeHistory,
  fileName,
  fileSalt,
  fileSequence,
  parseFileHeader,
} from './format.js';
import type { FileHeader } from './format.js';
import type { LogFs } from './fs.js';
import { replayFrames } from './replay.js';
import { scanFrames } from './scan.js';

export interface LogOwner {
  readonly volumeId: string;
  readonly nodeId: string;
}

/** A log as found on disk. */
export interface Recovered {
  readonly startLsn: Lsn;
  readonly history: EpochHistory;
  readonly extents: Extents;
  readonly lastSequence: number;
  /** All files, oldest first, with the logical end of the log when each was begun; null where the header is damaged. */
  readonly files: readonly { readonly sequence: number; readonly startLsn: Lsn | null }[];
  /** Offset in the last file behind its last good frame; what follows was never acknowledged. */
  readonly lastOffset: number;
  /** A write that a crash left incomplete, now ignored. */
  readonly tornTail: { readonly file: string; readonly offset: number } | null;
  /** A file that was begun and never used, safe to remove. */
  readonly leftover: string | null;
  readonly bytesScanned: number;
}

interface FoundFile {
  readonly sequence: number;
  readonly file: string;
  readonly header: FileHeader | null;
}

/**
 * Reads all files of a log folder and replays their frames. Changes nothing on disk.
 * Null when the folder holds no log. Throws LOG_WRONG_OWNER when a file belongs to another volume or node, LOG_BAD_VERSION.
 */
export async function recoverLog(fs: LogFs, dir: string, owner: LogOwner): Promise<Recovered | null> {
  const { files, leftover } = await findFiles(fs, dir, owner);
  const first = files[0];
  if (!first) return null;
  const startLsn = first.header?.startLsn;
  if (startLsn === undefined)
    throw new DbError('LOG_DAMAGED', `${first.file}: both copies of the first file's header are damaged`, {
      hint: 'The node must be rebuilt from its peers.',
    });
  const extents = new Extents(startLsn);
  let history: EpochHistory = [];
  let tornTail: Recovered['tornTail'] = null;
  let lastOffset = 0;
  let bytesScanned = 0;
  for (const [i, { file, header, sequence }] of files.entries()) {
    const next = files[i + 1];
    joinFiles(extents, header, file);
    const whole = await fs.readFile(file);
    const limit = next?.header ? next.header.prevEnd : whole.length;
    const buf = whole.subarray(0, Math.min(limit, whole.length));
    bytesScanned += buf.length;
    const salt = fileSalt(owner.volumeId, owner.nodeId, sequence);
    const scanned = scanFrames(buf, {
      salt,
      from: HEADER_AREA,
      sealed: next?.header !== undefined && next.header !== null,
    });
    for (const item of replayFrames(scanned, extents.end, next?.header?.startLsn ?? null)) {
      if (item.kind === 'end') {
        lastOffset = item.at;
        if (item.torn) tornTail = { file, offset: item.at };
      } else if (item.kind === 'damage') {
        if (item.frameBytes !== null)
          extents.add(item.begin, item.end - item.begin, sequence, item.at, item.frameBytes);
        const { begin, end, reason, payloadCrc } = item;
        extents.damage({ begin, end, file, offset: item.at, reason, payloadCrc });
      } else if (item.info.type === FrameType.history) {
        history = decodeHistory(item.payload);
        extents.cut(item.info.begin);
      } else {
        const { begin, length, type } = item.info;
        if (type === FrameType.data) extents.add(begin, length, sequence, item.at, item.frameBytes);
        else
          extents.patch({
            begin,
            end: lsn(begin + length),
            file: sequence,
            offset: item.at,
            frameBytes: item.frameBytes,
          });
      }
    }
  }
  const lastSequence = files.at(-1)!.sequence;
  return {
    startLsn: extents.start,
    history,
    extents,
    lastSequence,
    files: files.map((f) => ({ sequence: f.sequence, startLsn: f.header?.startLsn ?? null })),
    lastOffset,
    tornTail,
    leftover,
    bytesScanned,
  };
}

/** What is missing between the log so far and a file's beginning is damage: frames, or whole files, are gone. */
function joinFiles(extents: Extents, header: FileHeader | null, file: string): void {
  if (!header || header.startLsn <= extents.end) return;
  extents.damage({
    begin: extents.end,
    end: header.startLsn,
    file,
    offset: 0,
    reason: 'log before this file is missing',
    payloadCrc: null,
  });
}

async function findFiles(
  fs: LogFs,
  dir: string,
  owner: LogOwner,
): Promise<{ files: FoundFile[]; leftover: string | null }> {
  const sequences = (await fs.list(dir))
    .map(fileSequence)
    .filter((s) => s !== null)
    .sort((a, b) => a - b);
  const files: FoundFile[] = [];
  let leftover: string | null = null;
  for (const sequence of sequences) {
    const file = path.join(dir, fileName(sequence));
    const { area, more } = await readHeaderArea(fs, file);
    const header = parseFileHeader(area, file);
    if (header && (header.volumeId !== owner.volumeId || header.nodeId !== owner.nodeId))
      throw new DbError(
        'LOG_WRONG_OWNER',
        `${file} is the log of volume ${header.volumeId}, node ${header.nodeId}; expected ${owner.volumeId}, ${owner.nodeId}`,
        { reaction: 'usage' },
      );
    // Frames are only written once the header is durable: a last file without either was begun when the node crashed.
    if (!header && !more && sequence === sequences.at(-1)) leftover = file;
    else files.push({ sequence, file, header });
  }
  return { files, leftover };
}

async function readHeaderArea(fs: LogFs, file: string): Promise<{ area: Buffer; more: boolean }> {
  const fd = await fs.open(file, 'r');
  try {
    const buf = Buffer.alloc(HEADER_AREA + 1);
    const count = await fs.read(fd, buf, 0);
    return { area: buf.subarray(0, Math.min(count, HEADER_AREA)), more: count > HEADER_AREA };
  } finally {
    fs.close(fd);
  }
}
