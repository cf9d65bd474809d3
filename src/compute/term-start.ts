import type { Logger } from 'pino';
import type { ControlParameters } from '../engine/control/index.js';
import { DbError, errorMessage } from '../engine/errors.js';
import { formatLsn, type Lsn } from '../engine/lsn.js';
import type { DataDirManifest } from '../engine/pages/types.js';
import type { ComputeDirs, TermDirs } from './cluster-dirs.js';
import { RefusalLog } from '../net/refusal-log.js';
import type { ComputeConfig } from './config.js';
import { ConfigFiles } from './config-files.js';
import { refuseCustomRmgrs } from './custom-rmgr.js';
import { beginEpoch } from './epoch-start.js';
import { PageAgent } from './page-agent.js';
import { postgresSettings, writeManagedFiles } from './pg-settings.js';
import type { PgInstall } from './postgres.js';
import type { ReadRouter } from './read-router.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { MapFiles } from './remote-files.js';
import { Shipper } from './shipper.js';
import { Throttle } from './throttle.js';
import { endsWithStatistics, startSegments, type StartPoint } from './start-point.js';
import type { StandbyRoom } from './standby-room.js';
import type { StorageLinks } from './storage-links.js';
import { checkServerSettings, settingAtStart } from './settings-check.js';
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
import { untilStopped } from './until-stopped.js';
import { VolumeSource } from './volume-source.js';
import type { VolumeWriter } from './volume-writer.js';
import { WalGate } from './wal-gate.js';

export interface TermContext {
  config: ComputeConfig;
  dirs: ComputeDirs;
  install: PgInstall;
  /** Path of the compiled page-in library. */
  pageinLibrary: string;
  secret: Buffer;
  links: StorageLinks;
  reader: ReadRouter;
  log: Logger;
  standbyRoom: StandbyRoom;
}

/** All that a term consists of while it runs. */
export interface TermParts {
  dirs: TermDirs;
  lease: LeaseKeeper;
  writer: VolumeWriter;
  point: StartPoint;
  agent: PageAgent;
  files: ConfigFiles;
  postgres: PostgresProcess;
  shipper: Shipper;
  throttle: Throttle;
  gate: WalGate;
}

/**
 * Election, data directory, PostgreSQL, WAL stream, in this order. Throws QUORUM_LOST, EPOCH_*, COMPUTE_*, and leaves nothing
 * running then. `onStreamLost`: PostgreSQL runs, but its WAL cannot be had. `stop` ends the start (COMPUTE_STOPPED).
 */
export async function startTerm(
  context: TermContext,
  onStreamLost: (err: DbError) => void,
  stop?: AbortSignal,
): Promise<TermParts> {
  const { config, install, links, log, reader } = context;
  const begun = performance.now();
  return undoing(context, async (onFailure) => {
    const dirs = await foldersOfStart(context, onFailure);
    const { core, recoveryLsn, state, lease, point, writer } = await beginEpoch(context, onFailure, stop);
    // After a crash in the middle of a bulk load the nodes may have much log to work off first: they get the whole time that the starter has.
    await untilStopped(anyApplied(links, point.lsn, config.electTimeoutMs), stop);
    const electedMs = performance.now() - begun;

    const settings = postgresSettings(config, dirs);
    const files = new ConfigFiles({
      dataDir: dirs.data,
      socketDir: config.socketDir,
      port: config.port,
      superuser: config.superuser,
      secret: context.secret,
      log,
      check: () => checkServerSettings(install, dirs.data, settings),
    });
    onFailure(() => files.close());
    const manifest = await makeDataDir(context, dirs, writer, point, recoveryLsn, stop);
    const madeMs = performance.now() - begun;
    if (manifest.twoPhase.length > 0)
      Object.assign(settings, await roomForPrepared(context, dirs, settings, manifest, state.parameters));
    await untilStopped(refuseCustomRmgrs({ install, dataDir: dirs.data, settings }), stop);
    const source = new VolumeSource(reader, point.lsn, (name, content) => files.store(name, content));
    const refusals = new RefusalLog(log, 'page request');
    const agent = new PageAgent(source, {
      socketPath: dirs.agentSocket,
      owner: context.install.runAs,
      maps: new MapFiles(dirs.maps),
      onRefused: (err) => refusals.refused(dirs.agentSocket, err),
    });
    await agent.start();
    onFailure(() => agent.close());

    const gate = WalGate.create(dirs.walGate, state.segmentSize, point.lsn);
    onFailure(() => gate.close());
    const postgres = await startPostgres(context, dirs, settings, onFailure, { walGate: dirs.walGate, stop });
    const throttle = new Throttle(config.backPressure);
    const shipper = new Shipper(
      writer,
      {
        throttle,
        gate,
        socketDir: config.socketDir,
        port: config.port,
        user: config.superuser,
        timeline: state.checkpoint.thisTimeLineId,
        log,
      },
      onStreamLost,
    );
    onFailure(() => shipper.close());
    await untilStopped(shipper.start(state.systemIdentifier), stop);
    // Fenced while starting: nobody listened yet.
    if (writer.fencedBy) throw writer.fencedBy;
    files.start(manifest.files);
    adoptFolders(dirs, context);
    lease.moveTo(() => writer.commitLsn);
    log.info(
      {
        epoch: core.epoch,
        lsn: formatLsn(point.lsn),
        postgresPid: postgres.pid,
        electedMs: Math.round(electedMs),
        dataDirMs: Math.round(madeMs - electedMs),
        totalMs: Math.round(performance.now() - begun),
      },
      'PostgreSQL is ready',
    );
    return { dirs, lease, writer, point, agent, files, postgres, shipper, throttle, gate };
  });
}

/** Returns when one node has made pages up to `lsn`: pages can be read from there on. Throws NODE_BEHIND. */
async function anyApplied(links: StorageLinks, lsn: Lsn, timeoutMs: number): Promise<void> {
  try {
    await Promise.any(links.connected().map((node) => node.waitApplied({ lsn, timeoutMs })));
  } catch (cause) {
    const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
    throw new DbError(
      'NODE_BEHIND',
      `no storage node has pages as of ${formatLsn(lsn)} yet: ${errorMessage(first)}`,
      {
        cause,
        hint: 'The nodes may still be working off the log; look at them with "aurora status", and start again with more time (-t).',
      },
    );
  }
}

/** Throws away the old data directory and makes one as of the start point. Returns what is in it. */
async function makeDataDir(
  context: TermContext,
  dirs: TermDirs,
  writer: VolumeWriter,
  point: StartPoint,
  recoveryLsn: Lsn,
  stop: AbortSignal | undefined,
): Promise<DataDirManifest> {
  const { config, install, reader, log } = context;
  const { lsn } = point;
  const readLog = (begin: Lsn, end: Lsn): Promise<Buffer> => writer.readLog(begin, end);
  const facts = Promise.all([
    reader.read('the list of relations', (node) => node.manifest({ lsn })),
    startSegments(readLog, point, recoveryLsn),
    endsWithStatistics(readLog, point.state, recoveryLsn),
  ]);
  const [manifest, walSegments, keepStatistics] = await untilStopped(facts, stop);
  const made = await onDisk(context, () =>
    synthesizeDataDir({
      dirs,
      runAs: install.runAs,
      manifest,
      state: point.state,
      controlFile: point.controlFile,
      walSegments,
      keepStatistics,
      readFork: (fork) => readWholeFork(reader, fork, lsn, stop),
    }),
  );
  await onDisk(context, () => writeManagedFiles(config, dirs, install));
  log.info(
    { files: made.files, remoteBlocks: made.remoteBlocks, lsn: formatLsn(lsn) },
    'data directory made from storage',
  );
  return manifest;
}

/**
 * PostgreSQL does not start with more prepared transactions than it has room for. The primary that prepared them may have had more than this
 * compute is set to: its own options, or a setting lowered since. Throws COMPUTE_BAD_SETTINGS.
 */
async function roomForPrepared(
  { install, log }: TermContext,
  dirs: TermDirs,
  settings: Readonly<Record<string, string>>,
  { twoPhase }: DataDirManifest,
  { maxPreparedXacts: logged }: ControlParameters,
): Promise<Record<string, string>> {
  const name = 'max_prepared_transactions';
  const own = Number(await settingAtStart(install, dirs.data, settings, name));
  if (own >= twoPhase.length) return {};
  const room = Math.max(logged, twoPhase.length);
  log.warn({ prepared: twoPhase.length, own, room }, `${name} is as on the former primary: it left prepared transactions`); // prettier-ignore
  return { [name]: String(room) };
}
