import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ComputeDirs, TermDirs } from './cluster-dirs.js';
import type { ComputeConfig } from './config.js';
import type { PgInstall } from './postgres.js';
import { SHIPPER_NAME } from './shipper.js';
import { roomSettings, type Room } from './standby-room.js';

/**
 * Blocks that replay asks for ahead of their records. On a new replica nearly every one is absent, and takes a way over the network: with PostgreSQL's
 * 16 a busy primary is faster than that.
 */
const REPLAY_PREFETCH = '128';
/** pg_ident map that lets the daemon's own sessions in. */
const IDENT_MAP = 'aurora';

/**
 * Settings on PostgreSQL's command line: what the design rests on, out of reach of postgresql.conf and ALTER SYSTEM.
 * The local disk is a cache, so nothing is synced to it and no full pages are logged; COMMIT waits for the shipper, that is
 * for the write quorum; a crash is answered with a new data directory, never with crash recovery of this one.
 */
export function postgresSettings(config: ComputeConfig, dirs: ComputeDirs): Record<string, string> {
  return {
    ...config.settings,
    listen_addresses: config.host,
    port: String(config.port),
    unix_socket_directories: config.socketDir,
    unix_socket_permissions: '0700',
    hba_file: path.join(dirs.managed, 'pg_hba.conf'),
    ident_file: path.join(dirs.managed, 'pg_ident.conf'),
    wal_level: 'replica',
    fsync: 'off',
    full_page_writes: 'off',
    wal_log_hints: 'off',
    restart_after_crash: 'off',
    synchronous_standby_names: SHIPPER_NAME,
    // The slot holds what is not yet shipped: losing it would cost a restart.
    max_slot_wal_keep_size: '-1',
    idle_replication_slot_timeout: '0',
    logging_collector: 'off',
  };
}

/**
 * The settings of a replica: the same, but it receives its log from `relay`, and has room for as many connections and the like as the primary,
 * without which a hot standby refuses to start. It has no shipper: were it ever to write, no commit would be answered.
 */
export function standbySettings(
  config: ComputeConfig,
  dirs: ComputeDirs,
  relay: { socketDir: string; port: number },
  room: Room,
): Record<string, string> {
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const conninfo = {
    host: relay.socketDir,
    port: String(relay.port),
    user: 'aurora',
    application_name: config.name,
  };
  const { settings, ...fixed } = {
    settings: config.settings,
    ...postgresSettings({ ...config, settings: {} }, dirs),
  };
  return {
    hot_standby_feedback: 'on',
    maintenance_io_concurrency: REPLAY_PREFETCH,
    ...settings,
    ...fixed,
    ...roomSettings(room),
    hot_standby: 'on',
    primary_conninfo: Object.entries(conninfo)
      .map(([name, value]) => `${name}=${quoted(value)}`)
      .join(' '),
    primary_slot_name: '',
    restore_command: '',
    wal_receiver_create_temp_slot: 'off',
    wal_receiver_status_interval: '1s',
    wal_retrieve_retry_interval: '200ms',
    recovery_target_timeline: 'latest',
    // Whatever the volume's settings say, it replays for ever: at a target it would stop, or become a primary that the volume does not know.
    recovery_target: '',
    recovery_target_lsn: '',
    recovery_target_name: '',
    recovery_target_time: '',
    recovery_target_xid: '',
    archive_cleanup_command: '',
    recovery_end_command: '',
  };
}

/**
 * Writes the pg_hba and pg_ident files that PostgreSQL is started with: one rule for the daemon's own sessions, so that no edit can
 * lock it out (and with it the log), then the user's files from the data directory, included.
 */
export function writeManagedFiles(config: ComputeConfig, dirs: TermDirs, install: PgInstall): void {
  mkdirSync(dirs.managed, { recursive: true, mode: 0o755 });
  const accounts = new Set([os.userInfo().username, ...(install.runAs ? [install.runAs.name] : [])]);
  const role = `"${config.superuser.replaceAll('"', '""')}"`;
  const hba = [
    '# Managed by OpenAurora; edits here are lost. Yours belong into the included file.',
    `local all ${role} peer map=${IDENT_MAP}`,
    `local replication ${role} peer map=${IDENT_MAP}`,
    `include "${path.join(dirs.data, 'pg_hba.conf')}"`,
  ];
  const ident = [
    '# Managed by OpenAurora; edits here are lost. Yours belong into the included file.',
    ...[...accounts].map((account) => `${IDENT_MAP} "${account}" ${role}`),
    `include "${path.join(dirs.data, 'pg_ident.conf')}"`,
  ];
  for (const [name, lines] of [
    ['pg_hba.conf', hba],
    ['pg_ident.conf', ident],
  ] as const) {
    const file = path.join(dirs.managed, name);
    writeFileSync(file, `${lines.join('\n')}\n`, { mode: 0o600 });
    if (install.runAs) chownSync(file, install.runAs.uid, install.runAs.gid);
  }
}
