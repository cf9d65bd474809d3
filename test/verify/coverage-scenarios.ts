/** What npm run coverage:wal runs: every workload, and the steps that SQL cannot take, under the settings that each needs. */
import { BTREE_INTERRUPTIONS, INDEX_INTERRUPTIONS, runInterrupted } from '../helpers/redo-interrupted.js';
import type { PlainPostgres } from '../helpers/plain-postgres.js';
import { changeParameters, CRASH_SETTINGS, crashWithinRecord, promote } from '../helpers/redo-steps.js';
import { runSqlFile } from '../helpers/redo-workload.js';

export interface Step {
  /** As docs/WAL-COVERAGE.md names it. */
  readonly name: string;
  run(server: PlainPostgres): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly steps: readonly Step[];
  /**
   * pages: replayed onto pages, each compared with PostgreSQL's image, in the end with the files. Not across a change of timeline.
   * volume: ingested by a page store, which is compared with the server's files after each step. Not under wal_level = minimal.
   */
  readonly compare: readonly ('pages' | 'volume')[];
}

/** A file of test/workloads, in a database of its own. */
function workload(name: string): Step {
  const database = `w_${name.replace(/\W/g, '_')}`;
  return {
    name,
    async run(server) {
      // With the files copied: a visibility map does not survive STRATEGY wal_log, and the maps are to be compared.
      await server.sql(`CREATE DATABASE ${database} STRATEGY file_copy`);
      const client = await server.client(database);
      await runSqlFile(client, name);
      await client.end();
    },
  };
}

const INDEXES = ['btree', 'hash', 'gin', 'gist', 'spgist', 'brin', 'generic'].map((am) =>
  workload(`${am}.sql`),
);

const CRASH_WITHIN_RECORD: Step = { name: 'crash within a record', run: crashWithinRecord };

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'as a compute runs: no page images, no hint bits in the log',
    settings: { full_page_writes: 'off', autovacuum: 'off', ...CRASH_SETTINGS },
    steps: [
      ...['heap.sql', 'ddl.sql', 'locks.sql', 'mixed.sql'].map(workload),
      ...INDEXES,
      {
        name: 'crash between two records',
        run: (server) => runInterrupted(server, [...BTREE_INTERRUPTIONS, ...INDEX_INTERRUPTIONS]),
      },
      CRASH_WITHIN_RECORD,
    ],
    compare: ['pages', 'volume'],
  },
  {
    name: 'full logical information, page images, hint bits in the log',
    settings: {
      wal_level: 'logical',
      wal_log_hints: 'on',
      track_commit_timestamp: 'on',
      max_prepared_transactions: '10',
      autovacuum: 'off',
      ...CRASH_SETTINGS,
    },
    steps: [
      ...['xact.sql', 'multixact.sql', 'truncate.sql', 'heap.sql', 'system.sql', 'locks.sql'].map(workload),
      ...['mixed.sql', 'hints.sql'].map(workload),
      ...INDEXES,
      { name: 'restart with other settings', run: changeParameters },
      workload('left-prepared.sql'),
    ],
    compare: ['pages', 'volume'],
  },
  {
    name: 'what takes long',
    settings: { track_commit_timestamp: 'on', autovacuum: 'off' },
    steps: ['slow-truncate.sql', 'slow-large.sql'].map(workload),
    compare: ['pages', 'volume'],
  },
  {
    name: 'wal_level = minimal, which no volume has',
    settings: { wal_level: 'minimal', max_wal_senders: '0', wal_skip_threshold: '1GB', autovacuum: 'off' },
    steps: [workload('gist.sql')],
    compare: ['pages'],
  },
  {
    name: 'promotion',
    settings: { autovacuum: 'off', wal_keep_size: '1GB', ...CRASH_SETTINGS },
    steps: [{ name: 'promotion', run: promote }, workload('locks.sql')],
    compare: ['volume'],
  },
];
