/** A volume's control data: what it is, how far it is, and what pg_controldata would say of the cluster in it. */
import { existsSync } from 'node:fs';
import { clusterLayout } from '../cluster/layout.js';
import { Manifest } from '../cluster/manifest.js';
import { parseControlFile, type CheckPoint, type ControlState } from '../engine/control/index.js';
import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, readLsn, type Lsn } from '../engine/lsn.js';
import { segmentFileName } from '../engine/wal/segments.js';
import { VolumeTool } from './volume.js';

export interface ControlData {
  volume: {
    id: string;
    directory: string;
    branch: string;
    /** Of the newest writer; null while no node runs. */
    epoch: number | null;
    copies: number;
    writeQuorum: number;
    readQuorum: number;
    /** Null while no node runs. */
    commitLsn: string | null;
    appliedLsn: string;
    /** History before this LSN is not kept by any node. */
    oldestLsn: string;
    /** in production, or shut down: no node runs, and all this is what one had applied. */
    state: string;
    /** What a start as of appliedLsn would go on with. */
    nextXid: string;
    nextOid: number;
  };
  systemIdentifier: string;
  controlVersion: number;
  catalogVersion: number;
  /** The last checkpoint record in the log. */
  checkpoint: CheckPointReport;
  parameters: ControlState['parameters'];
  segmentSize: number;
}

export interface CheckPointReport extends Omit<CheckPoint, 'redo' | 'nextXid'> {
  location: string;
  redo: string;
  redoFile: string;
  /** epoch:xid */
  nextXid: string;
}

interface Found {
  state: ControlState;
  appliedLsn: Lsn;
  oldestLsn: Lsn;
  commitLsn: Lsn | null;
  epoch: number | null;
}

/** Asks the running nodes; while none runs, looks into the folder of one. Throws CLUSTER_MISSING, INSPECT_NO_NODE. */
export async function controlData(root: string): Promise<{ data: ControlData; image: Buffer }> {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  const { volume, storageNodes } = manifest;
  manifest.close();
  const found = (await running(root)) ?? (await stopped(storageNodes.map(({ dir }) => dir)));
  const { state, appliedLsn, oldestLsn, commitLsn, epoch } = found;
  const image = Buffer.from(state.controlImage, 'base64');
  const file = parseControlFile(image);
  const last = state.lastCheckpoint ?? { lsn: file.checkpointLsn, checkpoint: file.checkpoint };
  const data: ControlData = {
    volume: {
      id: volume.volumeId,
      directory: layout.root,
      branch: 'main',
      epoch,
      copies: volume.copies,
      writeQuorum: volume.writeQuorum,
      readQuorum: volume.readQuorum,
      commitLsn: commitLsn === null ? null : formatLsn(commitLsn),
      appliedLsn: formatLsn(appliedLsn),
      oldestLsn: formatLsn(oldestLsn),
      state: commitLsn === null ? 'shut down' : 'in production',
      nextXid: fullXid(state.checkpoint.nextXid),
      nextOid: state.checkpoint.nextOid,
    },
    systemIdentifier: state.systemIdentifier,
    controlVersion: file.controlVersion,
    catalogVersion: file.catalogVersion,
    checkpoint: {
      ...last.checkpoint,
      location: formatLsn(last.lsn),
      redo: formatLsn(last.checkpoint.redo),
      redoFile: segmentFileName(
        last.checkpoint.thisTimeLineId,
        Math.floor(last.checkpoint.redo / state.segmentSize),
        state.segmentSize,
      ),
      nextXid: fullXid(last.checkpoint.nextXid),
    },
    parameters: state.parameters,
    segmentSize: state.segmentSize,
  };
  return { data, image };
}

async function running(root: string): Promise<Found | null> {
  let volume: VolumeTool;
  try {
    volume = await VolumeTool.open(root);
  } catch (err) {
    if (isDbError(err, 'INSPECT_NO_NODE')) return null;
    throw err;
  }
  try {
    const { commitLsn } = volume;
    return await volume.ask(async (client, { appliedLsn, gcLsn, promisedEpoch }) => ({
      state: await client.controlState({ lsn: appliedLsn }),
      appliedLsn,
      oldestLsn: gcLsn,
      commitLsn,
      epoch: promisedEpoch,
    }));
  } finally {
    volume.close();
  }
}

async function stopped(dirs: readonly string[]): Promise<Found> {
  // Loaded only here: with it come RocksDB and redo, which a running cluster is not asked by.
  const { openStoppedStore } = await import('./stopped-store.js');
  let best: Found | null = null;
  let problem = 'there is none on this machine';
  for (const dir of dirs.filter((name) => existsSync(name))) {
    const opened = await openStoppedStore(dir);
    if (typeof opened === 'string') {
      problem = opened;
      continue;
    }
    const { store, close } = opened;
    try {
      const { appliedLsn, horizon } = store;
      const snapshot = store.controlSnapshot(appliedLsn);
      if (snapshot && appliedLsn > (best?.appliedLsn ?? 0))
        best = { state: snapshot.state, appliedLsn, oldestLsn: horizon, commitLsn: null, epoch: null };
    } finally {
      await close();
    }
  }
  if (best) return best;
  throw new DbError('INSPECT_NO_NODE', `no storage node can be read: ${problem}`, {
    hint: 'Look at the nodes with: aurora status',
  });
}

const LABEL_WIDTH = 38;
const WAL_LEVELS = ['minimal', 'replica', 'logical'];

/** The volume's own lines, then the layout of pg_controldata (src/bin/pg_controldata, PostgreSQL 18). */
export function controlDataText({ data, image }: { data: ControlData; image: Buffer }): string {
  const { volume, checkpoint: cp, parameters: p } = data;
  const onOff = (on: boolean): string => (on ? 'on' : 'off');
  const rows: [label: string, value: string | number][] = [
    ['Volume identifier', volume.id],
    ['Volume directory', volume.directory],
    ['Branch', volume.branch],
    ['Epoch', volume.epoch ?? '-'],
    ['Copies', volume.copies],
    ['Write quorum', volume.writeQuorum],
    ['Read quorum', volume.readQuorum],
    ['Commit LSN', volume.commitLsn ?? '-'],
    ['Applied LSN', volume.appliedLsn],
    ['Oldest LSN kept', volume.oldestLsn],
    ["Next start's NextXID", volume.nextXid],
    ["Next start's NextOID", volume.nextOid],
    ['pg_control version number', data.controlVersion],
    ['Catalog version number', data.catalogVersion],
    ['Database system identifier', data.systemIdentifier],
    ['Database cluster state', volume.state],
    ['pg_control last modified', ctime(cp.time)],
    ['Latest checkpoint location', cp.location],
    ["Latest checkpoint's REDO location", cp.redo],
    ["Latest checkpoint's REDO WAL file", cp.redoFile],
    ["Latest checkpoint's TimeLineID", cp.thisTimeLineId],
    ["Latest checkpoint's PrevTimeLineID", cp.prevTimeLineId],
    ["Latest checkpoint's full_page_writes", onOff(cp.fullPageWrites)],
    ["Latest checkpoint's NextXID", cp.nextXid],
    ["Latest checkpoint's NextOID", cp.nextOid],
    ["Latest checkpoint's NextMultiXactId", cp.nextMulti],
    ["Latest checkpoint's NextMultiOffset", cp.nextMultiOffset],
    ["Latest checkpoint's oldestXID", cp.oldestXid],
    ["Latest checkpoint's oldestXID's DB", cp.oldestXidDb],
    ["Latest checkpoint's oldestActiveXID", cp.oldestActiveXid],
    ["Latest checkpoint's oldestMultiXid", cp.oldestMulti],
    ["Latest checkpoint's oldestMulti's DB", cp.oldestMultiDb],
    ["Latest checkpoint's oldestCommitTsXid", cp.oldestCommitTsXid],
    ["Latest checkpoint's newestCommitTsXid", cp.newestCommitTsXid],
    ['Time of latest checkpoint', ctime(cp.time)],
    ['Fake LSN counter for unlogged rels', formatLsn(readLsn(image, 128))],
    ['Minimum recovery ending location', '0/0'],
    ["Min recovery ending loc's timeline", 0],
    ['Backup start location', '0/0'],
    ['Backup end location', '0/0'],
    ['End-of-backup record required', 'no'],
    ['wal_level setting', WAL_LEVELS[p.walLevel] ?? `unrecognized (${p.walLevel})`],
    ['wal_log_hints setting', onOff(p.walLogHints)],
    ['max_connections setting', p.maxConnections],
    ['max_worker_processes setting', p.maxWorkerProcesses],
    ['max_wal_senders setting', p.maxWalSenders],
    ['max_prepared_xacts setting', p.maxPreparedXacts],
    ['max_locks_per_xact setting', p.maxLocksPerXact],
    ['track_commit_timestamp setting', onOff(p.trackCommitTimestamp)],
    ...builtIn(image),
  ];
  return rows.map(([label, value]) => `${`${label}:`.padEnd(LABEL_WIDTH)}${value}`).join('\n');
}

/** What PostgreSQL was built with; see control-file.ts for the layout. */
function builtIn(image: Buffer): [label: string, value: string | number][] {
  const u32 = (at: number): number => image.readUInt32LE(at);
  return [
    ['Maximum data alignment', u32(204)],
    ['Database block size', u32(216)],
    ['Blocks per segment of large relation', u32(220)],
    ['WAL block size', u32(224)],
    ['Bytes per WAL segment', u32(228)],
    ['Maximum length of identifiers', u32(232)],
    ['Maximum columns in an index', u32(236)],
    ['Maximum size of a TOAST chunk', u32(240)],
    ['Size of a large-object chunk', u32(244)],
    ['Date/time type storage', '64-bit integers'],
    ['Float8 argument passing', image[248] ? 'by value' : 'by reference'],
    ['Data page checksum version', u32(252)],
    ['Default char data signedness', image[256] ? 'signed' : 'unsigned'],
    ['Mock authentication nonce', image.toString('hex', 257, 289)],
  ];
}

function fullXid(value: number): string {
  return `${Math.floor(value / 2 ** 32)}:${value % 2 ** 32}`;
}

/** C's %c in local time: `Sun Nov 29 22:42:31 2026`. */
function ctime(seconds: number): string {
  const at = new Date(seconds * 1000);
  const [weekday, month, day, year] = at.toDateString().split(' ');
  return `${weekday} ${month} ${String(Number(day)).padStart(2)} ${at.toTimeString().slice(0, 8)} ${year}`;
}
