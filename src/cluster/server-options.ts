import { DbError } from '../engine/errors.js';

/** Settings that make this a cluster at all; they cannot be overridden by hand (see docs/ARCHITECTURE.md, "A write"). */
export const FIXED_SETTINGS = new Set([
  'fsync',
  'full_page_writes',
  'restart_after_crash',
  'synchronous_standby_names',
  'wal_level',
  'wal_log_hints',
  'hba_file',
  'ident_file',
  'data_directory',
  'config_file',
  'listen_addresses',
  'logging_collector',
  'max_slot_wal_keep_size',
  'idle_replication_slot_timeout',
  'unix_socket_directories',
  'unix_socket_permissions',
]);

/** Parses pg_ctl's -o: `-c name=value`, `--name=value`, with quotes for values that hold blanks. Throws USAGE_BAD_OPTION. */
export function parseServerOptions(text: string | undefined): Record<string, string> {
  const settings: Record<string, string> = {};
  const words = (text ?? '').match(/(?:[^\s'"]+|'[^']*'|"[^"]*")+/g) ?? [];
  const plain = words.map((word) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_, a: string | undefined, b: string | undefined) => a ?? b ?? ''),
  );
  for (let i = 0; i < plain.length; i++) {
    const word = plain[i]!;
    const assignment =
      word === '-c'
        ? plain[++i]
        : word.startsWith('-c')
          ? word.slice(2)
          : word.startsWith('--')
            ? word.slice(2)
            : undefined;
    const equals = assignment?.indexOf('=') ?? -1;
    if (assignment === undefined || equals <= 0) {
      throw new DbError('USAGE_BAD_OPTION', `invalid server option "${word}"`, {
        hint: 'Write settings as -c name=value.',
      });
    }
    const name = assignment.slice(0, equals).replaceAll('-', '_').toLowerCase();
    if (name === 'port')
      throw new DbError('USAGE_BAD_OPTION', 'setting "port" cannot be given as a server option', {
        hint: 'Use the --port option instead.',
      });
    if (FIXED_SETTINGS.has(name))
      throw new DbError('USAGE_BAD_OPTION', `setting "${name}" is fixed by the cluster and cannot be given`);
    settings[name] = assignment.slice(equals + 1);
  }
  return settings;
}
