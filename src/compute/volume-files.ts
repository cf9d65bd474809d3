/** Files a user may edit; kept in the volume, put back into every new data directory. */
export const CONFIG_FILES = [
  'postgresql.conf',
  'postgresql.auto.conf',
  'pg_hba.conf',
  'pg_ident.conf',
] as const;

/** Cumulative statistics: handed over by a clean stop only, and true only for a start from exactly there. */
export const STATISTICS_FILE = 'pg_stat/pgstat.stat';
