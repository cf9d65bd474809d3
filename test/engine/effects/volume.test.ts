/**
 * Proves for records without page images (Transaction, CLOG, MultiXact, CommitTs, RelMap, Database, Tablespace, Storage, ReplicationOrigin,
 * XLOG) that a page store that ingested them holds what PostgreSQL has in its files at that point: transaction statuses, multixacts, commit
 * times, relation maps, prepared transactions, origins, databases, tablespaces, relation sizes, and the counters of the control file.
 * After each workload, and over restarts with other settings, a crash within a record, and a promotion.
 */
import assert from 'node:assert/strict';
import type { Lsn } from '../../../src/engine/lsn.js';
import { recordTypeName } from '../../../src/engine/redo/index.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';
import { runFile } from '../../helpers/redo-run.js';
import { changeParameters, CRASH_SETTINGS, crashWithinRecord, promote } from '../../helpers/redo-steps.js';
import { differences, stateOfFiles, stateOfStore, type DirectoryState } from './directory-state.js';
import { VolumeCheck } from './volume-check.js';

describe('a volume beside its pages, against the files of the server that wrote the log', function () {
  this.timeout(60_000);
  let server: PlainPostgres;
  let check: VolumeCheck;

  before(async () => {
    server = await startPlainPostgres({
      settings: {
        wal_level: 'logical',
        track_commit_timestamp: 'on',
        max_prepared_transactions: '10',
        autovacuum: 'off',
        wal_keep_size: '1GB',
        ...CRASH_SETTINGS,
      },
    });
    await server.stop();
    check = await VolumeCheck.begin(server.dataDir);
    await server.start();
  });

  after(async () => {
    await check.close();
    await server.destroy();
  });

  const file =
    (name: string) =>
    (pg: PlainPostgres): Promise<void> =>
      runFile(pg, name);
  const steps: [what: string, run: (pg: PlainPostgres) => Promise<void>, types: string[]][] = [
    ['row locks', file('locks.sql'), ['MultiXact/CREATE_ID', 'MultiXact/ZERO_MEM_PAGE']],
    [
      'ends of transactions',
      file('xact.sql'),
      [
        'Transaction/COMMIT',
        'Transaction/ABORT',
        'Transaction/PREPARE',
        'Transaction/COMMIT_PREPARED',
        'Transaction/ABORT_PREPARED',
        'Transaction/ASSIGNMENT',
        'CLOG/ZEROPAGE',
        'CommitTs/ZEROPAGE',
        'ReplicationOrigin/SET',
        'ReplicationOrigin/DROP',
      ],
    ],
    [
      'pages full of multixacts',
      file('multixact.sql'),
      ['MultiXact/CREATE_ID', 'MultiXact/ZERO_OFF_PAGE', 'MultiXact/ZERO_MEM_PAGE'],
    ],
    ['truncations', file('truncate.sql'), ['CommitTs/TRUNCATE', 'MultiXact/TRUNCATE_ID']],
    [
      'databases, tablespaces and relation maps',
      file('system.sql'),
      [
        'Database/CREATE_FILE_COPY',
        'Database/CREATE_WAL_LOG',
        'Database/DROP',
        'Tablespace/CREATE',
        'Tablespace/DROP',
        'RelMap/UPDATE',
        'Storage/CREATE',
        'Storage/TRUNCATE',
        'XLOG/NEXTOID',
        'XLOG/CHECKPOINT_ONLINE',
      ],
    ],
    ['other settings', changeParameters, ['XLOG/PARAMETER_CHANGE']],
    ['a crash within a record', crashWithinRecord, ['XLOG/OVERWRITE_CONTRECORD']],
    ['a promotion', promote, ['XLOG/END_OF_RECOVERY']],
    ['transactions left prepared', file('left-prepared.sql'), ['Transaction/PREPARE']],
  ];
  for (const [what, run, types] of steps) {
    it(`is the same after ${what}`, async () => {
      await run(server);
      await server.stop();
      const seen = new Set<string>();
      assert.deepEqual(await check.compare(server.dataDir, (rec) => seen.add(recordTypeName(rec))), []);
      assert.deepEqual(
        types.filter((type) => !seen.has(type)),
        [],
        'not in the log',
      );
      await server.start();
    });
  }

  it('would be seen to differ in any of that', async () => {
    await server.stop();
    assert.deepEqual(await check.compare(server.dataDir), []);
    const theirs = await stateOfFiles(server.dataDir);
    const prefixes = [...theirs.facts.keys()].map((name) => name.split(' ')[0]);
    assert.deepEqual([...new Set(prefixes)].sort(), [
      'database',
      'origin',
      'prepared',
      'relation',
      'tablespace',
    ]);
    const slrus = [...theirs.slrus].filter(([, page]) => page.some((byte) => byte !== 0));
    assert.deepEqual([...new Set(slrus.map(([name]) => name.split(' ')[0]))].sort(), [
      'commit_ts',
      'multixact_members',
      'multixact_offsets',
      'xact',
    ]);
    const fork = [...theirs.forks].find(([name, { used }]) => name.endsWith('/0') && used > 1)![0];
    const changes: ((state: DirectoryState) => void)[] = [
      ...[...theirs.facts.keys()].map((name) => (state: DirectoryState) => void state.facts.delete(name)),
      ...[...theirs.facts.keys()].map((name) => (state: DirectoryState) => void state.facts.set(name, '?')),
      ...slrus.map(
        ([name]) =>
          (state: DirectoryState) =>
            void state.slrus.delete(name),
      ),
      (state) => void (state.control = { ...state.control!, lastRecordEnd: 1 as Lsn }),
      (state) => state.forks.delete(fork),
      (state) => state.forks.set(fork, { used: 1, all: 1 }),
    ];
    const known = stateOfStore(check.store);
    for (const change of changes) {
      const ours = {
        ...known,
        slrus: new Map(known.slrus),
        facts: new Map(known.facts),
        forks: new Map(known.forks),
      };
      change(ours);
      assert.equal(differences(ours, theirs).length, 1);
    }
  });
});
