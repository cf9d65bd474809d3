// The commands that look at a running cluster or steer it, against one: top, isready, controldata, config, logs, and what inspect shows of volume,
// leases, relations, pages between LSNs and the log as tables.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, promises as fs, renameSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { parseLsn } from '../../src/engine/lsn.js';
import type { PageDiff } from '../../src/inspect/page-diff.js';
import type { RelationReport } from '../../src/inspect/relation-report.js';
import type { TopReport } from '../../src/inspect/top.js';
import type { LeaseReport, VolumeReport } from '../../src/inspect/volume-report.js';
import { TestCluster, eventually } from '../helpers/cluster.js';
import { hasTerminal, playTerminal } from '../helpers/terminal.js';
import { PROGRAM, aurora, type CliOptions, type CliResult } from './cli.js';

describe('tools at a running cluster', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  const run = (args: string[], options: CliOptions = {}): Promise<CliResult> =>
    aurora(args, { ...options, env: { AURORA_HOME: cluster.layout.root, ...options.env } });
  const ok = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await run(args);
    assert.deepEqual([status, stderr], [0, ''], `aurora ${args.join(' ')}: ${stdout.slice(-500)}`);
    return stdout;
  };

  before(async () => {
    cluster = await TestCluster.start();
  });
  after(() => cluster?.destroy());

  describe('top', () => {
    it('--once prints one report', async () => {
      const text = await ok('top', '--once', '--interval', '0.2');
      assert.match(text, /^STORAGE +STATE +SCL .*\n(?:\d +running +0\/\w+ .*\n){3}/m);
      assert.match(text, /^primary +primary +running /m);
      assert.equal(text.split('STORAGE').length, 2);
    });

    it('--json goes on, a report a line, with rates of what happened; ^C ends it in order', async () => {
      const client = await cluster.client();
      await client.query('create table busy (n int)');
      const seen = await run(['top', '--json', '-i', '0.3'], {
        started: (child) => {
          let lines = 0;
          child.stdout!.on('data', (chunk: Buffer) => {
            lines += chunk.toString().split('\n').length - 1;
            if (lines >= 12) child.kill('SIGINT');
            else void client.query('insert into busy select generate_series(1, 1000)');
          });
        },
      });
      assert.deepEqual([seen.status, seen.stderr], [0, '']);
      const reports = seen.stdout.trimEnd().split('\n').map((line) => JSON.parse(line) as TopReport); // prettier-ignore
      assert.ok(reports.length >= 12);
      const [first] = reports;
      assert.deepEqual(first!.storage.map(({ id, state, voter }) => [id, state, voter]), [['1', 'running', true], ['2', 'running', true], ['3', 'running', true]]); // prettier-ignore
      const most = (pick: (report: TopReport) => number | null): number => Math.max(...reports.map((report) => pick(report) ?? 0)); // prettier-ignore
      assert.ok(most((r) => r.computes[0]!.walBytesPerSecond) > 10_000, 'WAL/s');
      assert.ok(most((r) => r.computes[0]!.commitsPerSecond) > 0, 'commits/s');
      assert.ok(most((r) => r.computes[0]!.commitLatencyMs) > 0, 'commit latency');
      assert.ok(most((r) => r.computes[0]!.sessions) >= 1, 'sessions');
      assert.ok(most((r) => r.computes[0]!.leaseBytes) > 0, 'what its lease holds');
      assert.deepEqual([first!.computes[0]!.lagBytes, first!.computes[0]!.lagMs], [null, null], 'a primary has no lag'); // prettier-ignore
      for (const i of [0, 1, 2])
        assert.ok(most((r) => r.storage[i]!.logBytesPerSecond) > 10_000, `log/s of node ${i + 1}`);
      assert.ok(
        first!.storage.every(({ freeBytes, pagesBytes }) => freeBytes! > 0 && pagesBytes! > 0),
        'disk',
      );
    });

    for (const [name, key] of [
      ['q', 'q'],
      ['^C', '\x03'],
    ] as const)
      // prettier-ignore
      it(`draws on a terminal of 80 x 24, and leaves it as it was at ${name}`, async function () {
        if (!hasTerminal()) this.skip();
        const command = `${process.execPath} ${PROGRAM} top -D ${cluster.layout.root} -i 0.2`;
        const { screen, status, modesKept } = await playTerminal(command, { rows: 24, columns: 80 }, (seen) =>
          seen.split('q: quit').length > 3 ? key : null,
        );
        assert.equal(status, 0, screen);
        assert.match(screen, /COMMIT ms/);
        assert.ok(modesKept);
        assert.ok(screen.lastIndexOf('\x1b[?1049l') > screen.lastIndexOf('\x1b[?1049h'), 'the screen is back');
        assert.ok(screen.lastIndexOf('\x1b[?25h') > screen.lastIndexOf('\x1b[?25l'), 'the cursor is back');
      });

    it('refuses an interval that is none', async () => {
      const { status, stderr } = await run(['top', '--interval', '0']);
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^aurora top: error: option --interval: expected a number of seconds from 0\.1 to 3600, not "0"\n/,
      );
    });
  });

  describe('isready', () => {
    it('says what pg_isready says, with its exit status', async () => {
      const { socketDir, port } = cluster;
      const cases: [string[], number, string][] = [
        [[], 0, `${socketDir}:${port} - accepting connections\n`],
        [
          ['-h', '127.0.0.1', '-p', String(port), '-U', 'nobody', '-d', 'none'],
          0,
          `127.0.0.1:${port} - accepting connections\n`,
        ],
        [['-h', '/nowhere', '-p', '1'], 2, '/nowhere:1 - no response\n'],
        [['-q'], 0, ''],
      ];
      for (const [args, status, says] of cases) {
        const ours = await run(['isready', ...args]);
        assert.deepEqual([ours.status, ours.stdout, ours.stderr], [status, says, ''], args.join(' '));
        if (!args.includes('-h')) continue;
        const theirs = spawnSync('pg_isready', args, { encoding: 'utf8' });
        assert.deepEqual([theirs.status, theirs.stdout], [status, says], 'pg_isready itself');
      }
      assert.equal((await run(['isready', '-p', 'x'])).status, 3);
    });

    it('tells a server that rejects from one that says nothing', async () => {
      const answers = (answer: Buffer | null): Promise<[net.Server, number]> =>
        new Promise((resolve) => {
          const server = net.createServer((socket) => {
            socket.on('error', () => undefined); // it goes away when it has heard enough
            socket.once('data', () => (answer ? socket.end(answer) : undefined));
          });
          server.listen(0, '127.0.0.1', () => resolve([server, (server.address() as net.AddressInfo).port]));
        });
      const fields = Buffer.from('SFATAL\0C57P03\0Mthe database system is starting up\0\0');
      const refusal = Buffer.concat([Buffer.from('E'), Buffer.alloc(4), fields]);
      refusal.writeUInt32BE(4 + fields.length, 1);
      for (const [answer, status, says] of [
        [refusal, 1, 'rejecting connections'],
        [null, 2, 'no response'],
      ] as const) {
        const [server, port] = await answers(answer);
        const result = await run(['isready', '-h', '127.0.0.1', '-p', String(port), '-t', '2', '--json']);
        server.close();
        assert.equal(result.status, status);
        assert.equal((JSON.parse(result.stdout) as { answer: string }).answer, says);
      }
    });
  });

  describe('controldata', () => {
    it("has the values that PostgreSQL reads from its own pg_control, and pg_controldata's layout", async () => {
      const [theirs] =
        await cluster.sql(`checkpoint; select s.pg_control_version, s.catalog_version_no, s.system_identifier::text,
        c.checkpoint_lsn::text, c.redo_lsn::text, c.redo_wal_file, c.next_xid, c.next_oid::text, c.oldest_xid::text, c.oldest_multi_xid::text
        from pg_control_system() s, pg_control_checkpoint() c`);
      const text = await ok('controldata');
      const values = new Map(text.trimEnd().split('\n').map((line) => [line.slice(0, 38).trimEnd(), line.slice(38)])); // prettier-ignore
      const ours = ['pg_control version number', 'Catalog version number', 'Database system identifier', 'Latest checkpoint location', "Latest checkpoint's REDO location", "Latest checkpoint's REDO WAL file", "Latest checkpoint's NextXID", "Latest checkpoint's NextOID", "Latest checkpoint's oldestXID", "Latest checkpoint's oldestMultiXid"]; // prettier-ignore
      assert.deepEqual(ours.map((label) => values.get(`${label}:`)), Object.values(theirs!).map(String)); // prettier-ignore
      assert.equal(values.get('Epoch:'), '1');
      assert.equal(values.get('Database cluster state:'), 'in production');
      assert.equal(values.get('Bytes per WAL segment:'), '16777216');
    });
  });

  describe('config', () => {
    it('sets, shows and takes back settings; the volume keeps them', async () => {
      assert.equal(await ok('config', 'set', 'work_mem=5MB', "log_line_prefix=it's "), '');
      assert.equal(await ok('config', 'get', 'work_mem', 'log_line_prefix'), "5MB\nit's \n");
      assert.match(
        await ok('config', 'list', 'work_mem'),
        /^name +value +source.*\nwork_mem +5MB +configuration file/,
      );
      await ok('config', 'reset', 'work_mem', 'log_line_prefix');
      const [setting] = JSON.parse(await ok('config', 'get', 'work_mem', '--json')) as {
        value: string;
        source: string;
      }[];
      assert.deepEqual([setting!.value, setting!.source], ['4MB', 'default']);
    });

    it('takes back what keeps every other session from its work', async () => {
      const hostile = ['statement_timeout=1ms', 'lock_timeout=1ms', 'idle_session_timeout=1ms', 'default_transaction_read_only=on', 'search_path=none']; // prettier-ignore
      await ok('config', 'set', ...hostile);
      await ok('config', 'reset', ...hostile.map((setting) => setting.split('=')[0]!));
      assert.equal(
        await ok('config', 'get', 'statement_timeout', 'default_transaction_read_only'),
        '0\noff\n',
      );
    });

    it('says what needs a restart, and refuses what the cluster rests on, what is none, and bad values', async () => {
      assert.match(
        await ok('config', 'set', 'shared_preload_libraries=auto_explain, pg_prewarm'),
        /^a restart is needed for shared_preload_libraries/,
      );
      const auto = await fs.readFile(path.join(cluster.computeDir, 'pgdata/postgresql.auto.conf'), 'utf8');
      assert.match(auto, /^shared_preload_libraries = 'auto_explain, pg_prewarm'$/m);
      await ok('config', 'reset', 'shared_preload_libraries');
      for (const [setting, says] of [
        ['fsync=on', /parameter "fsync" is fixed on PostgreSQL's command line\n.*hint: /],
        ['no_such=1', /unrecognized configuration parameter "no_such"\n.*hint: /],
        ['work_mem=lots', /could not set "work_mem": ERROR: +invalid value for parameter "work_mem": "lots"/],
        ['work_mem', /"work_mem" is not NAME=VALUE/],
      ] as const) {
        const { status, stderr } = await run(['config', 'set', setting]);
        assert.equal(status, 1);
        assert.match(stderr, says);
      }
    });
  });

  describe('logs', () => {
    it('shows the last lines of each, in time order, as text and as JSON', async () => {
      const text = (await ok('logs', '-n', '3')).trimEnd().split('\n');
      for (const name of ['storage-1', 'storage-2', 'storage-3', 'compute-primary', 'postgresql-primary'])
        assert.ok(
          text.some((line) => line.startsWith(name)),
          name,
        );
      assert.ok(
        text.some((line) => /^storage-1 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z INFO {2}\w/.test(line)),
      );
      const entries = (await ok('logs', 'storage', '--json')).trimEnd().split('\n').map((line) => JSON.parse(line) as { log: string; time: string }); // prettier-ignore
      assert.ok(entries.every(({ log }) => /^storage-\d$/.test(log)));
      assert.deepEqual(entries.map(({ time }) => time), entries.map(({ time }) => time).sort()); // prettier-ignore
      const { status, stderr } = await run(['logs', 'none']);
      assert.equal(status, 1);
      assert.match(stderr, /there is no log "none"\n.*hint: There are: storage-1, /);
    });

    it('--follow goes on over a rotation', async () => {
      const file = path.join(cluster.computeDir, 'postgresql.log');
      let step = 0;
      const seen = await run(['logs', 'postgresql', '-f', '-n', '1'], {
        started: (child) =>
          child.stdout!.on('data', (chunk: Buffer) => {
            const text = chunk.toString();
            if (step === 0) {
              step = 1;
              appendFileSync(file, 'before the rotation\n');
            } else if (step === 1 && text.includes('before the rotation')) {
              step = 2;
              appendFileSync(file, 'into the old file\n');
              renameSync(file, `${file}.1`);
              appendFileSync(file, 'into the new file\n');
            } else if (step === 2 && text.includes('into the new file')) child.kill('SIGINT');
          }),
      });
      renameSync(`${file}.1`, file); // PostgreSQL's lines go on into this one
      assert.deepEqual([seen.status, seen.stderr], [0, '']);
      assert.match(seen.stdout, /before the rotation\n.*into the old file\n.*into the new file\n$/s);
    });
  });

  describe('inspect', () => {
    let before: string;

    it('volume shows each node, leases who holds history', async () => {
      const text = await ok('inspect', 'volume');
      assert.equal(text.match(/^node \d \(127\.0\.0\.1:\d+\), voter, epoch 1$/gm)!.length, 3);
      assert.match(text, /^ {2}log {7}0\/\w+ to 0\/\w+, committed to 0\/\w+$/m);
      assert.match(text, /^ {2}00000002\.log {2}0\/\w+ +0\/\w+ /m);
      for (const line of text.split('\n')) assert.ok(line.length <= 80, line);
      const { nodes } = JSON.parse(await ok('inspect', 'volume', '--node', '2', '--json')) as VolumeReport;
      assert.deepEqual(nodes.map(({ id, problem }) => [id, problem]), [['2', null]]); // prettier-ignore
      assert.ok(nodes[0]!.logFiles!.length >= 1 && nodes[0]!.logBytes! > 0);
      const { leases } = JSON.parse(await ok('inspect', 'leases', '--json')) as { leases: LeaseReport[] };
      assert.deepEqual(leases.map(({ node, name }) => [node, name]), ['1', '2', '3'].map((node) => [node, 'primary, epoch 1'])); // prettier-ignore
    });

    it('relation counts forks, pages and versions on each node', async () => {
      await cluster.sql(
        'create table counted (id int primary key, n int); insert into counted select i, 0 from generate_series(1, 500) i',
      );
      // Images of pages that have many changes are made in idle moments, and would hide the changes that follow here.
      const filled = parseLsn((await cluster.status()).computes[0]!.commitLsn!);
      for (const { id } of cluster.storageNodes)
        await eventually(`node ${id} has no image to make`, () =>
          cluster.withNode(id, async (client) => {
            const { appliedLsn, metrics } = await client.status();
            return appliedLsn >= filled && metrics['coalesceBacklog'] === 0;
          }),
        );
      before = (await cluster.status()).computes[0]!.commitLsn!;
      await cluster.sql('update counted set n = 1 where id = 1');
      await cluster.sql('delete from counted where id = 2');
      const { nodes, relation } = JSON.parse(
        await ok('inspect', 'relation', 'counted', '--json'),
      ) as RelationReport;
      assert.equal(relation.name, 'public.counted');
      assert.equal(nodes.length, 3);
      for (const { forks, pages, storedPages, images, deltas, bytes, longest, problem } of nodes) {
        assert.equal(problem, null);
        assert.deepEqual(forks.filter(({ fork }) => fork === 'main').map(({ blocks }) => blocks), [3]); // prettier-ignore
        assert.ok(
          pages >= 3 && storedPages >= 3 && images >= 3 && deltas >= 400 && bytes > 500 * 20,
          JSON.stringify(nodes),
        );
        assert.ok(longest!.versions > 100);
      }
      assert.match(
        await ok('inspect', 'relation', 'counted', '--node', '1'),
        /^relation public\.counted .*\n\nfork +blocks +size\nmain +3 +24 kB\n/,
      );
    });

    it('page --diff shows what happened to a page between two LSNs', async () => {
      const diff = JSON.parse(
        await ok('inspect', 'page', 'counted', '0', '--diff', before, '--json'),
      ) as PageDiff;
      const changed = diff.items.map(({ offnum, change }) => `${offnum} ${change}`);
      assert.deepEqual(changed.slice(0, 2), ['1 changed', '2 changed']);
      assert.ok(
        diff.items[1]!.fields.some(
          ({ field, from, to }) => field === 'tuple.xmax' && from === '0' && to !== '0',
        ),
      );
      assert.ok(diff.versions.some(({ record }) => record === 'Heap/DELETE'));
      const now = (await cluster.status()).computes[0]!.commitLsn!;
      const text = await ok('inspect', 'page', 'counted', '0', '--diff', before, now);
      assert.match(text, /^changes from LSN \S+ to \S+$/m);
      assert.match(text, /^versions in between$[\s\S]*Heap\/DELETE$/m);
      assert.match(await ok('inspect', 'page', 'counted', '0', '--diff', now, now), /the page is the same/);
    });

    it('wal as tables: by record type, by relation, by time', async () => {
      const chart = await ok('inspect', 'wal', '--chart');
      assert.match(chart, /^record type +bytes +% +records\n\w+\/.* █+\n/m);
      const { rows } = JSON.parse(await ok('inspect', 'wal', '--by-relation', '--json')) as { rows: { relation: string; records: number; blocks: number }[] }; // prettier-ignore
      const [{ file }] = (await cluster.sql("select pg_relation_filenode('counted')::text as file")) as {
        file: string;
      }[] as [{ file: string }];
      const own = rows.find(({ relation }) => relation.endsWith(`/${file}`))!;
      assert.ok(own.records >= 502 && own.blocks >= 3, JSON.stringify(own));
      const tps = JSON.parse(await ok('inspect', 'wal', '--tps', '--json')) as {
        rows: { commits: number; bytes: number }[];
      };
      assert.ok(tps.rows.reduce((sum, { commits }) => sum + commits, 0) >= 4);
      for (const text of [
        chart,
        await ok('inspect', 'wal', '--by-relation'),
        await ok('inspect', 'wal', '--tps'),
      ])
        for (const line of text.split('\n')) assert.ok(line.length <= 80, line);
    });
  });

  describe('once it is stopped', () => {
    it('controldata reads it from its folders; isready says that nobody is there', async () => {
      await cluster.stop();
      const text = await ok('controldata');
      assert.match(text, /^Database cluster state: +shut down$/m);
      assert.match(text, /^Commit LSN: +-$/m);
      assert.equal((await run(['isready'])).status, 2);
      const { status, stderr } = await run(['top', '--once']);
      assert.equal(status, 1);
      assert.match(stderr, /no storage node of cluster .* can be reached/);
    });
  });
});
