/**
 * global/pg_control of PostgreSQL 18 (ControlFileData, catalog/pg_control.h): 296 meaningful bytes, zero up to 8192, CRC-32C of bytes 0..291 at 292. Only
 * the fields named below are ever written by us; all others (alignments, sizes, the authentication nonce, padding) come from the
 * image of the imported cluster.
 */
import { DbError } from '../errors.js';
import { lsn, readLsn, writeLsn, type Lsn } from '../lsn.js';
import {
  BLCKSZ,
  CATALOG_VERSION_NO,
  PG_CONTROL_VERSION,
  RELSEG_SIZE,
  XLOG_BLCKSZ,
} from '../page/constants.js';
import { crc32c } from '../wal/crc32c.js';
import { isSegmentSize } from '../wal/format.js';
import { encodeCheckpoint, parseCheckpoint, readU64, shutdownCheckpoint, writeU64 } from './checkpoint.js';
import type { CheckPoint, ControlParameters, ControlState } from './state.js';

export const CONTROL_FILE_SIZE = 8192;
/** Bytes before the CRC. */
const CRC_AT = 292;
const CONTROL_DATA_SIZE = 296;

/** DBState: what pg_control says about the cluster. */
export const DbState = {
  startup: 0,
  shutdowned: 1,
  shutdownedInRecovery: 2,
  shutdowning: 3,
  inCrashRecovery: 4,
  inArchiveRecovery: 5,
  inProduction: 6,
} as const;

export interface ControlFile {
  /** Decimal u64. */
  readonly systemIdentifier: string;
  readonly controlVersion: number;
  readonly catalogVersion: number;
  /** One of DbState. */
  readonly dbState: number;
  /** Unix seconds of the last update. */
  readonly time: number;
  /** Start of the last checkpoint record. */
  readonly checkpointLsn: Lsn;
  readonly checkpoint: CheckPoint;
  readonly minRecoveryPoint: Lsn;
  readonly minRecoveryPointTli: number;
  readonly backupStartPoint: Lsn;
  readonly parameters: ControlParameters;
  readonly maxAlign: number;
  readonly floatFormat: number;
  readonly blcksz: number;
  /** Blocks of a relation segment file. */
  readonly relsegSize: number;
  readonly xlogBlcksz: number;
  /** WAL segment size in bytes. */
  readonly segmentSize: number;
  readonly float8ByVal: boolean;
  /** 0 = data checksums off. */
  readonly dataChecksumVersion: number;
  /** The 296 bytes. */
  readonly image: Buffer;
}

/** Parses pg_control (296 bytes or more). Throws CONTROL_SHORT, CONTROL_BAD_CRC, CONTROL_VERSION. */
export function parseControlFile(buf: Buffer): ControlFile {
  if (buf.length < CONTROL_DATA_SIZE)
    throw controlError(
      'CONTROL_SHORT',
      `pg_control has ${buf.length} bytes, at least ${CONTROL_DATA_SIZE} expected`,
    );
  const version = buf.readUInt32LE(8);
  if (version !== PG_CONTROL_VERSION)
    throw controlError(
      'CONTROL_VERSION',
      `pg_control has version ${version}, PostgreSQL 18 writes ${PG_CONTROL_VERSION}`,
    );
  const crc = crc32c(buf.subarray(0, CRC_AT));
  if (crc !== buf.readUInt32LE(CRC_AT))
    throw controlError('CONTROL_BAD_CRC', 'pg_control is damaged: its checksum does not match its contents');
  return {
    systemIdentifier: buf.readBigUInt64LE(0).toString(),
    controlVersion: version,
    catalogVersion: buf.readUInt32LE(12),
    dbState: buf.readUInt32LE(16),
    time: readU64(buf, 24),
    checkpointLsn: readLsn(buf, 32),
    checkpoint: parseCheckpoint(buf, 40),
    minRecoveryPoint: readLsn(buf, 136),
    minRecoveryPointTli: buf.readUInt32LE(144),
    backupStartPoint: readLsn(buf, 152),
    parameters: {
      walLevel: buf.readInt32LE(172),
      walLogHints: buf[176] !== 0,
      maxConnections: buf.readInt32LE(180),
      maxWorkerProcesses: buf.readInt32LE(184),
      maxWalSenders: buf.readInt32LE(188),
      maxPreparedXacts: buf.readInt32LE(192),
      maxLocksPerXact: buf.readInt32LE(196),
      trackCommitTimestamp: buf[200] !== 0,
    },
    maxAlign: buf.readUInt32LE(204),
    floatFormat: buf.readDoubleLE(208),
    blcksz: buf.readUInt32LE(216),
    relsegSize: buf.readUInt32LE(220),
    xlogBlcksz: buf.readUInt32LE(224),
    segmentSize: buf.readUInt32LE(228),
    float8ByVal: buf[248] !== 0,
    dataChecksumVersion: buf.readUInt32LE(252),
    image: Buffer.from(buf.subarray(0, CONTROL_DATA_SIZE)),
  };
}

/**
 * Refuses a cluster whose files our pages, redo and page service could not serve: another catalog version, block size,
 * alignment, or data checksums. Throws CONTROL_UNSUPPORTED (reaction usage) with a hint.
 */
export function assertSupportedCluster(cf: ControlFile): void {
  const expected: readonly (readonly [string, unknown, unknown])[] = [
    ['catalog version', cf.catalogVersion, CATALOG_VERSION_NO],
    ['block size', cf.blcksz, BLCKSZ],
    ['relation segment size (blocks)', cf.relsegSize, RELSEG_SIZE],
    ['WAL block size', cf.xlogBlcksz, XLOG_BLCKSZ],
    ['maximum alignment', cf.maxAlign, 8],
    ['float format', cf.floatFormat, 1234567],
    ['float8 passed by value', cf.float8ByVal, true],
  ];
  for (const [what, found, wanted] of expected) {
    if (found !== wanted)
      throw unsupported(
        `the cluster has ${what} ${String(found)}, this build serves ${String(wanted)}`,
        'Only clusters of PostgreSQL 18 in its default build for 64-bit little-endian machines can be imported.',
      );
  }
  if (!isSegmentSize(cf.segmentSize))
    throw unsupported(
      `the cluster has an impossible WAL segment size: ${cf.segmentSize}`,
      'Is pg_control damaged?',
    );
  if (cf.dataChecksumVersion !== 0)
    throw unsupported(
      'the cluster has data checksums, which the storage keeps by its own means',
      'Switch them off first: pg_checksums --disable -D DATADIR (initdb: --no-data-checksums).',
    );
}

function unsupported(message: string, hint: string): DbError {
  return new DbError('CONTROL_UNSUPPORTED', message, { reaction: 'usage', hint });
}

function controlError(code: string, message: string): DbError {
  return new DbError(code, message, {
    reaction: 'usage',
    hint: 'Is this the data directory of PostgreSQL 18?',
  });
}

/** The control state right after the checkpoint record that `cf` names, which ends at `recordEnd`. */
export function initialControlState(
  cf: ControlFile,
  recordEnd: Lsn,
  lastInitializedOffsetsPage = -1,
): ControlState {
  return {
    systemIdentifier: cf.systemIdentifier,
    segmentSize: cf.segmentSize,
    checkpoint: { ...cf.checkpoint },
    parameters: { ...cf.parameters },
    lastRecordLsn: cf.checkpointLsn,
    lastRecordEnd: recordEnd,
    lastCheckpoint: { lsn: cf.checkpointLsn, online: false, checkpoint: { ...cf.checkpoint } },
    multixactOffsets: { lastInitialized: lastInitializedOffsetsPage, preInitialized: -1 },
    controlImage: cf.image.toString('base64'),
  };
}

export interface BuildControlOptions {
  /** Start of the checkpoint record that PostgreSQL shall start from. */
  checkpointLsn: Lsn;
  /** What that record says; by default the shutdown checkpoint of `state` at checkpointLsn. */
  checkpoint?: CheckPoint;
  /** Unix seconds, for pg_control's own time and the default checkpoint's. */
  timeSeconds: number;
  /** One of DbState; by default `shutdowned`. */
  dbState?: number;
  /** For a replica: it is consistent, and lets readers in, from here on. */
  minRecoveryPoint?: Lsn;
}

/** The 8192 bytes of pg_control with which PostgreSQL starts from `checkpointLsn`. */
export function buildControlFile(state: ControlState, options: BuildControlOptions): Buffer {
  const { checkpointLsn, timeSeconds } = options;
  const checkpoint = options.checkpoint ?? shutdownCheckpoint(state, checkpointLsn, timeSeconds);
  const minRecoveryPoint = options.minRecoveryPoint ?? lsn(0);
  const buf = Buffer.alloc(CONTROL_FILE_SIZE);
  Buffer.from(state.controlImage, 'base64').copy(buf);
  buf.writeUInt32LE(options.dbState ?? DbState.shutdowned, 16);
  writeU64(buf, timeSeconds, 24);
  writeLsn(buf, checkpointLsn, 32);
  encodeCheckpoint(checkpoint).copy(buf, 40);
  writeLsn(buf, minRecoveryPoint, 136);
  buf.writeUInt32LE(minRecoveryPoint === 0 ? 0 : checkpoint.thisTimeLineId, 144);
  buf.fill(0, 152, 169); // no backup to end: backupStartPoint, backupEndPoint, backupEndRequired
  const p = state.parameters;
  buf.writeInt32LE(p.walLevel, 172);
  buf[176] = p.walLogHints ? 1 : 0;
  buf.writeInt32LE(p.maxConnections, 180);
  buf.writeInt32LE(p.maxWorkerProcesses, 184);
  buf.writeInt32LE(p.maxWalSenders, 188);
  buf.writeInt32LE(p.maxPreparedXacts, 192);
  buf.writeInt32LE(p.maxLocksPerXact, 196);
  buf[200] = p.trackCommitTimestamp ? 1 : 0;
  buf.writeUInt32LE(crc32c(buf.subarray(0, CRC_AT)), CRC_AT);
  return buf;
}
