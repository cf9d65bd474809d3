import path from 'node:path';
import { DbError, isDbError } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import { relaySocketDir, type TermDirs } from './cluster-dirs.js';
import { refuseCustomRmgrs } from './custom-rmgr.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { LogRelay } from './log-relay.js';
import { PageAgent } from './page-agent.js';
import { standbySettings, writeManagedFiles } from './pg-settings.js';
import { MapFiles } from './remote-files.js';
import { newestFiles } from './replica-files.js';
import { findReplicaPoint, type ReplicaPoint } from './replica-point.js';
import { ReplicationServer } from './replication-server.js';
import { readControlFile, roomWith, type Room } from './standby-room.js';
import {
  adoptFolders,
  foldersOfStart,
  onDisk,
  readWholeFork,
  startPostgres,
  undoing,
} from './start-steps.js';
import type { PostgresProcess } from './supervisor.js';
import { synthesizeDataDir } from './synthesize.js';
import type { TermContext } from './term-start.js';
import { untilStopped } from './until-stopped.js';
import { VolumeSource } from './volume-source.js';

/** All that a replica consists of while it runs. */
export interface ReplicaParts {
  dirs: TermDirs;
  lease: LeaseKeeper;
  point: ReplicaPoint;
  /** What PostgreSQL has room for. */
  room: Room;
  relay: LogRelay;
  server: ReplicationServer;
  agent: PageAgent;
  postgres: PostgresProcess;
}

export interface ReplicaStartOptions {
  askCheckpoint(after: Lsn): void;
  /** Storage has no longer what PostgreSQL asks for: this replica was asleep, or cut off, for longer than its lease. */
  onGone(err: DbError): void;
  /** Called before PostgreSQL starts, so that nothing which it says is missed. */
  onServer(server: ReplicationServer, relay: LogRelay, point: ReplicaPoint, lease: LeaseKeeper): void;
}

/**
 * Start point and lease, data directory, log relay, page agent, PostgreSQL as a hot standby, in this order: returns when it lets readers
 * in. Throws REPLICA_NO_CHECKPOINT, NODE_*, COMPUTE_*, and leaves nothing running then. `stop` ends the start (COMPUTE_STOPPED).
 */
export async function startReplica(
  context: TermContext,
  options: ReplicaStartOptions,
  stop?: AbortSignal,
): Promise<ReplicaParts> {
  const { config, install, links, log, reader } = context;
  const begun = performance.now();
  return undoing(context, async (onFailure) => {
    const dirs = await foldersOfStart(context, onFailure);
    const { askCheckpoint } = options;
    const { point, lease } = await findReplicaPoint(
      { name: config.name, links, reader, log, askCheckpoint },
      stop,
    );
    onFailure(() => lease.close());
    const { systemIdentifier, segmentSize, checkpoint } = point.state;
    const room = roomWith(context.standbyRoom.with(point.room), config.settings);
    const socketDir = relaySocketDir(config.socketDir);
    const settings = standbySettings(config, dirs, { socketDir, port: config.port }, room);
    await makeStandbyDir(context, dirs, point, stop);
    const madeMs = performance.now() - begun;
    await untilStopped(refuseCustomRmgrs({ install, dataDir: dirs.data, settings }), stop);
    const relay = new LogRelay(links, log);
    const server = new ReplicationServer(relay, {
      socketPath: path.join(socketDir, `.s.PGSQL.${config.port}`),
      owner: install.runAs,
      systemId: systemIdentifier,
      timeline: checkpoint.thisTimeLineId,
      serverVersion: install.version,
      segmentSize,
      log,
    });
    options.onServer(server, relay, point, lease);
    await server.start();
    onFailure(() => server.close());
    const agent = new PageAgent(new VolumeSource(reader, point.lsn, refuseToStore), {
      socketPath: dirs.agentSocket,
      owner: install.runAs,
      maps: new MapFiles(dirs.maps),
      onError: (err) => {
        if (isGone(err)) options.onGone(err);
      },
    });
    await agent.start();
    onFailure(() => agent.close());
    const postgres = await startPostgres(context, dirs, settings, onFailure, { stop }).catch(
      (err: unknown) => {
        const needed = readControlFile(dirs.data);
        if (needed) context.standbyRoom.need(needed.parameters);
        throw err;
      },
    );
    adoptFolders(dirs, context);
    log.info(
      {
        lsn: formatLsn(point.lsn),
        checkpoint: formatLsn(point.checkpointLsn),
        postgresPid: postgres.pid,
        dataDirMs: Math.round(madeMs),
        totalMs: Math.round(performance.now() - begun),
      },
      'the replica is ready',
    );
    return { dirs, lease, point, room, relay, server, agent, postgres };
  });
}

function isGone(err: unknown): err is DbError {
  return isDbError(err) && (err.code === 'PAGE_GONE_BY_GC' || (err.cause !== undefined && isGone(err.cause)));
}

/** Storage has no writer but the primary. */
function refuseToStore(name: string): Promise<void> {
  return Promise.reject(
    new DbError('COMPUTE_READ_ONLY', `"${name}" cannot be changed on a replica: change it on the primary`, {
      reaction: 'usage',
    }),
  );
}

async function makeStandbyDir(
  context: TermContext,
  dirs: TermDirs,
  { lsn, state, controlFile }: ReplicaPoint,
  stop: AbortSignal | undefined,
): Promise<void> {
  const { config, install, reader, log } = context;
  const [manifest, settings] = await untilStopped(
    Promise.all([
      reader.read('the list of relations', (node) => node.manifest({ lsn })),
      newestFiles(context, lsn),
    ]),
    stop,
  );
  const signal = { name: 'standby.signal', content: Buffer.alloc(0) };
  const made = await onDisk(context, () =>
    synthesizeDataDir({
      dirs,
      runAs: install.runAs,
      manifest: { ...manifest, files: [...settings, signal] },
      state,
      controlFile,
      // All of the log comes from the relay, from the beginning of the segment on.
      walSegments: [],
      keepStatistics: false,
      readFork: (fork) => readWholeFork(reader, fork, lsn, stop),
    }),
  );
  await onDisk(context, () => writeManagedFiles(config, dirs, install));
  log.info(
    { files: made.files, remoteBlocks: made.remoteBlocks, lsn: formatLsn(lsn) },
    'data directory of a standby made from storage',
  );
}
