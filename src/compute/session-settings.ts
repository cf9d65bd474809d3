/** Settings of a session that a role, a database or the whole server may have been given, and that must not keep our own from their work. */
export const UNHINDERED: readonly string[] = [
  'search_path=pg_catalog',
  'statement_timeout=0',
  'lock_timeout=0',
  'transaction_timeout=0',
  'idle_session_timeout=0',
  'idle_in_transaction_session_timeout=0',
  'default_transaction_read_only=off',
];

/** As the `options` of a connection. */
export function sessionOptions(settings: readonly string[]): string {
  return settings.map((setting) => `-c ${setting}`).join(' ');
}
