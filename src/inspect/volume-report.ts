/** What `aurora inspect volume` and `inspect leases` show: each storage node's log, pages and history, and who holds history. */
import { existsSync, promises as fs } from 'node:fs';
import path from 'node:path';
import { fileSequence, HEADER_AREA, parseFileHeader } from '../engine/log/format.js';
import { formatLsn } from '../engine/lsn.js';
import type { NodeStatus } from '../net/node-status.js';
import { LOG_FOLDER } from '../storage/folders.js';
import { ASK_TIMEOUT_MS, NodeClients } from './node-clients.js';

export interface LeaseReport {
  node: string;
  name: string;
  /** The oldest LSN that its holder may read at. */
  lsn: string;
  /** Since it was renewed. */
  ageMs: number;
  /** How much history it holds on this node, in bytes of log up to what is committed. */
  holdsBytes: number;
}

/** A file of a node's log; only where its folder is on this machine. */
export interface LogFileReport {
  file: string;
  /** Where it begins; it ends where the next one does, the last at the node's SCL. */
  startLsn: string;
  bytes: number;
}

export interface VolumeNodeReport {
  id: string;
  address: string;
  directory: string;
  problem: string | null;
  voter: boolean | null;
  epoch: number | null;
  /** Each epoch that wrote log, and where it began. */
  history: { epoch: number; startLsn: string }[];
  logStart: string | null;
  scl: string | null;
  commit: string | null;
  applied: string | null;
  /** History before this LSN is not kept: the horizon. */
  gcLsn: string | null;
  logFiles: LogFileReport[] | null;
  logBytes: number | null;
  pagesBytes: number | null;
  freeBytes: number | null;
  retention: { timeMs: number; bytes: number } | null;
  vacuum: { state: string; passes: number; lastError: string | null } | null;
  leases: LeaseReport[];
  damaged: { begin: string; end: string; file: string }[];
}

export interface VolumeReport {
  id: string;
  directory: string;
  systemIdentifier: string;
  createdAt: string;
  copies: number;
  writeQuorum: number;
  readQuorum: number;
  nodes: VolumeNodeReport[];
}

/** Throws CLUSTER_MISSING, USAGE_NODE, INSPECT_NO_NODE. */
export async function volumeReport(root: string, node?: string): Promise<VolumeReport> {
  const tool = new NodeClients(root, node);
  try {
    const { volume, nodes } = tool.members();
    const answers = await tool.ask((client) => client.status(ASK_TIMEOUT_MS));
    return {
      id: volume.volumeId,
      directory: tool.layout.root,
      systemIdentifier: volume.systemId,
      createdAt: volume.createdAt,
      copies: volume.copies,
      writeQuorum: volume.writeQuorum,
      readQuorum: volume.readQuorum,
      nodes: await Promise.all(
        answers.map(async ({ id, address, value, problem }) => {
          const directory = nodes.find((info) => info.id === id)!.dir;
          return {
            id,
            address,
            directory,
            problem,
            ...nodeReport(id, value),
            logFiles: await logFilesIn(directory),
          };
        }),
      ),
    };
  } finally {
    tool.close();
  }
}

type NodeFacts = Omit<VolumeNodeReport, 'id' | 'address' | 'directory' | 'problem' | 'logFiles'>;

function nodeReport(id: string, status: NodeStatus | null): NodeFacts {
  const text = (lsn: number | undefined): string | null => (lsn === undefined ? null : formatLsn(lsn));
  const vacuum = status?.vacuum;
  return {
    voter: status?.voter ?? null,
    epoch: status?.promisedEpoch ?? null,
    history: status?.history.map(({ epoch, startLsn }) => ({ epoch, startLsn: formatLsn(startLsn) })) ?? [],
    logStart: text(status?.logStart),
    scl: text(status?.scl),
    commit: text(status?.commitLsn),
    applied: text(status?.appliedLsn),
    gcLsn: text(status?.gcLsn),
    logBytes: vacuum?.disk.logBytes ?? null,
    pagesBytes: vacuum?.disk.pagesBytes ?? null,
    freeBytes: vacuum?.disk.freeBytes ?? null,
    retention: vacuum?.retention ?? null,
    vacuum: vacuum ? { state: vacuum.state, passes: vacuum.passes, lastError: vacuum.lastError } : null,
    leases:
      vacuum?.leases.map(({ name, lsn, ageMs }) => ({
        node: id,
        name,
        lsn: formatLsn(lsn),
        ageMs,
        holdsBytes: Math.max(0, status!.commitLsn - lsn),
      })) ?? [],
    damaged:
      status?.damaged.map(({ begin, end, file }) => ({
        begin: formatLsn(begin),
        end: formatLsn(end),
        file,
      })) ?? [],
  };
}

/** Null when the folder is on another machine. A running node may begin, and remove, files meanwhile. */
async function logFilesIn(nodeDir: string): Promise<LogFileReport[] | null> {
  const dir = path.join(nodeDir, LOG_FOLDER);
  if (!existsSync(dir)) return null;
  const files: LogFileReport[] = [];
  for (const name of (await fs.readdir(dir)).filter((file) => fileSequence(file) !== null).sort()) {
    const handle = await fs.open(path.join(dir, name), 'r').catch(absent);
    if (handle === null) continue;
    try {
      const area = Buffer.alloc(HEADER_AREA);
      const { bytesRead } = await handle.read(area, 0, HEADER_AREA, 0);
      const header = parseFileHeader(area.subarray(0, bytesRead), name);
      const { size } = await handle.stat();
      files.push({ file: name, startLsn: header ? formatLsn(header.startLsn) : 'unreadable', bytes: size });
    } finally {
      await handle.close();
    }
  }
  return files;
}

function absent(err: NodeJS.ErrnoException): null {
  if (err.code === 'ENOENT') return null;
  throw err;
}
