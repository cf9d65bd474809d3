/**
 * A cluster's life through the installed command: made with a password, started, used, looked into, refused where PostgreSQL's
 * programs refuse, interrupted, stopped. Real processes; whatever happens, none is left.
 */
import assert from 'node:assert/strict';
import { promises as fs, existsSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import pg from 'pg';
import { freePort } from '../../src/cluster/ports.js';
import type { ClusterReport } from '../../src/cluster/status.js';
import { aurora, processesWith, tempFolder, type CliResult } from './cli.js';

describe('the life of a cluster', function () {
  this.timeout(240_000);
  let dir: string;
  let remove: () => Promise<void>;
  let root: string;
  let port: number;
  const ok = async (...args: string[]): Promise<string> => {
    const result = await aurora(args, { env: { AURORA_HOME: root } });
    assert.equal(result.status, 0, `aurora ${args.join(' ')}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  };
  const fails = async (status: number, says: RegExp, ...args: string[]): Promise<CliResult> => {
    const result = await aurora(args, { env: { AURORA_HOME: root } });
    assert.equal(
      result.status,
      status,
      `aurora ${args.join(' ')}: ${result.stderr}${result.stdout.slice(-500)}`,
    );
    assert.match(result.stderr, says);
    return result;
  };
  const report = async (): Promise<ClusterReport> =>
    JSON.parse(await ok('status', '--json')) as ClusterReport;
  /** What was killed takes a moment to go. */
  const noneLeft = (): Promise<void> =>
    until('no process is left', async () => (await processesWith(root)).length === 0);
  const login = (password: string): pg.Client =>
    new pg.Client({ host: '127.0.0.1', port, user: 'alice', password, database: 'postgres' });

  before(async () => {
    ({ dir, remove } = await tempFolder());
    root = path.join(dir, 'cluster');
    port = await freePort();
    await fs.writeFile(path.join(dir, 'pw'), 'open sesame\n');
  });

  after(async () => {
    await aurora(['stop', '-D', root, '-m', 'immediate']);
    await noneLeft().finally(remove);
  });

  it('initdb, interrupted, leaves no trace', async () => {
    const result = await aurora(['initdb', '-D', root], {
      started: (child) => child.stdout!.once('data', () => child.kill('SIGINT')),
    });
    assert.equal(result.status, 130);
    assert.match(result.stderr, /^aurora initdb: error: interrupted by SIGINT$/m);
    assert.equal(existsSync(root), false);
    assert.deepEqual(await processesWith(root), []);
  });

  it('initdb makes one, with a superuser, a password, a locale and settings', async () => {
    const said = await ok(
      ...`initdb -D ${root} -p ${port} -U alice --pwfile ${dir}/pw -E UTF8 --locale C -c work_mem=9MB -c deadlock_timeout=3s`.split(
        ' ',
      ),
    );
    assert.match(said, /Success/);
    const modes = await Promise.all(
      ['', 'secret'].map(async (f) => (await fs.stat(path.join(root, f))).mode & 0o777),
    );
    assert.equal(modes[1], 0o600, 'the cluster secret is ours alone');
    await fails(1, /is not empty/, 'initdb', '-D', root);
    await fails(3, /^$/, 'status');
    await fails(1, /is not running/, 'stop');
  });

  it('start refuses a used port and an unusable log file, and starts nothing', async () => {
    const server = net.createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const taken = (server.address() as net.AddressInfo).port;
    await fails(1, new RegExp(`port ${taken} on 127.0.0.1 is already in use`), 'start', '-p', String(taken));
    server.close();
    await fails(
      1,
      /could not open log file ".*none.x": No such file or directory/,
      'start',
      '-l',
      `${dir}/none/x`,
    );
    assert.deepEqual(await processesWith(root), []);
  });

  it('start, interrupted, leaves no daemon', async () => {
    const result = await aurora(['start', '-D', root], {
      started: (child) =>
        child.stdout!.on('data', (chunk: Buffer) => {
          if (/starting the compute/.test(chunk.toString())) child.kill('SIGINT');
        }),
    });
    assert.equal(result.status, 130, result.stderr);
    assert.match(result.stderr, /^aurora start: error: interrupted by SIGINT$/m);
    await noneLeft();
    await fails(3, /^$/, 'status');
  });

  it('start starts it, with its log where asked for (a relative path), and only once', async () => {
    const result = await aurora(['start', '-l', 'pg.log'], { env: { AURORA_HOME: root }, cwd: dir });
    assert.equal(result.status, 0, result.stderr);
    assert.match(result.stdout, new RegExp(`server started on port ${port}`));
    assert.match(await fs.readFile(path.join(dir, 'pg.log'), 'utf8'), /database system is ready/);
    await fails(1, /is already running/, 'start');
    const { running, storage, computes } = await report();
    assert.equal(running, true);
    assert.deepEqual(storage.map((node) => [node.id, node.state]), [['1', 'running'], ['2', 'running'], ['3', 'running']]); // prettier-ignore
    assert.deepEqual(computes.map((c) => [c.name, c.role, c.state, c.port]), [['primary', 'primary', 'running', port]]); // prettier-ignore
  });

  it('it has the settings that initdb was given', async () => {
    const shown = await ok('psql', '-At', '-U', 'alice', '-c', 'show work_mem', '-c', 'show deadlock_timeout', 'postgres'); // prettier-ignore
    assert.equal(shown, '9MB\n3s\n');
  });

  it('TCP wants the password (scram), the socket does not', async () => {
    const wrong = login('guess');
    await assert.rejects(wrong.connect(), /password authentication failed for user "alice"/);
    const right = login('open sesame');
    await right.connect();
    const { rows } = await right.query(
      "select rolpassword ~ '^SCRAM-SHA-256' as scram, current_setting('lc_collate', true) as c from pg_authid where rolname = 'alice'",
    );
    assert.equal(rows[0].scram, true);
    await right.end();
  });

  it('createdb and dropdb say what PostgreSQL says', async () => {
    assert.match(
      await ok('createdb', '-e', 'shop', 'the shop'),
      /CREATE DATABASE "shop";\nCOMMENT ON DATABASE "shop" IS 'the shop';/,
    );
    await fails(
      1,
      /createdb: error: database creation failed: ERROR: {2}database "shop" already exists/,
      'createdb',
      'shop',
    );
    await fails(
      1,
      /dropdb: error: database removal failed: ERROR: {2}database "none" does not exist/,
      'dropdb',
      'none',
    );
    await ok('dropdb', '--if-exists', 'none');
  });

  it('inspect wal prints the live log, and the same from a node and from pg_wal', async () => {
    const live = (await ok('inspect', 'wal')).split('\n');
    const create = live.findIndex((line) => /rmgr: Database .* desc: CREATE_WAL_LOG /.test(line));
    assert.notEqual(create, -1, 'createdb is in the log');
    const start = /lsn: (\S+),/.exec(live[create]!)![1]!.replace('/0', '/');
    const some = live.slice(create, create + 50).join('\n');
    const { computes, storage } = await report();
    const node = await ok(
      'inspect',
      'wal',
      path.join(root, 'storage', storage[0]!.id),
      '--start',
      start,
      '-n',
      '50',
    );
    assert.equal(node.trimEnd(), some);
    const local = await ok(
      'inspect',
      'wal',
      path.join(root, 'compute', computes[0]!.name, 'pgdata'),
      '-s',
      start,
      '-n',
      '50',
    );
    assert.equal(local.trimEnd(), some);
    const heap = await ok('inspect', 'wal', '-s', start, '--rmgr', 'heap', '-n', '5', '--json');
    for (const line of heap.trimEnd().split('\n'))
      assert.equal((JSON.parse(line) as { rmgr: string }).rmgr, 'Heap');
    const stats = await ok('inspect', 'wal', '--stats=record');
    assert.match(stats, /^Heap\/INSERT +\d+ \(/m);
  });

  it('inspect wal at the end of a pg_wal folder fails as pg_waldump does', async () => {
    const { stdout, status, stderr } = await aurora([
      'inspect',
      'wal',
      path.join(root, 'compute/primary/pgdata/pg_wal'),
      '-q',
    ]);
    assert.equal(stdout, '');
    assert.equal(status, 1);
    assert.match(stderr, /^aurora inspect wal: error: error in WAL record at [0-9A-F]+\/[0-9A-F]+: /);
  });

  it('inspect wal --follow shows a commit as it happens, and ends in order', async () => {
    const { commitLsn } = (await report()).volume;
    await ok('createdb', 'early');
    let late: Promise<string> | null = null;
    const seen = await aurora(['inspect', 'wal', '--follow', '--start', commitLsn!, '--rmgr', 'Database'], {
      env: { AURORA_HOME: root },
      started: (child) => {
        let text = '';
        child.stdout!.on('data', (chunk: Buffer) => {
          text += chunk.toString();
          // The first record shows that it follows; the second one is written only then.
          late ??= ok('createdb', 'late');
          if (text.split('CREATE_WAL_LOG').length > 2) child.kill('SIGINT');
        });
      },
    });
    await late;
    assert.equal(seen.status, 0, seen.stderr);
    assert.equal(seen.stdout.trimEnd().split('\n').length, 2);
  });

  it('inspect page decodes a table, its index and its past', async () => {
    const client = login('open sesame');
    await client.connect();
    await client.query(
      "create table t (id int primary key, note text); insert into t values (1, 'first'), (2, null)",
    );
    // What the nodes know to be committed lags behind a little.
    const { rows: at } = await client.query<{ lsn: string }>(
      'select pg_current_wal_flush_lsn()::text as lsn',
    );
    const before = at[0]!.lsn;
    await client.query('update t set note = $$changed$$ where id = 2; delete from t where id = 1');
    const { rows } = await client.query<{ path: string }>("select pg_relation_filepath('t') as path");
    await client.end();
    const now = await ok('inspect', 'page', 't', '0');
    assert.match(now, /^relation public\.t \(1663\/\d+\/\d+\)$/m);
    assert.match(now, /^ +note text: "changed" /m);
    assert.match(now, /Heap\/(HOT_)?UPDATE$/m);
    assert.ok(
      now.split('\n').every((line) => line.length <= 80),
      'readable at 80 columns',
    );
    const numbers = `1663/${rows[0]!.path.split('/')[1]}/${rows[0]!.path.split('/')[2]}`;
    const past = JSON.parse(await ok('inspect', 'page', numbers, '0', '--lsn', before, '--json')) as {
      page: { items: { tuple: { xmax: number; natts: number } }[] };
    };
    assert.deepEqual(
      past.page.items.map((item) => item.tuple.xmax),
      [0, 0],
      'nothing was deleted then',
    );
    assert.match(await ok('inspect', 'page', 't_pkey', '1'), /level 0 .* flags leaf root/);
    await fails(
      1,
      /relation "nothing" does not exist in database "postgres"/,
      'inspect',
      'page',
      'nothing',
      '0',
    );
    await fails(1, /block 9 is out of range/, 'inspect', 'page', 't', '9');
  });

  it('a dead storage node shows in the status and disturbs nobody', async () => {
    const victim = (await report()).storage[2]!;
    process.kill(victim.pid!, 'SIGKILL');
    await ok('createdb', 'survivor');
    const after = await report();
    assert.equal(after.storage[2]!.state, 'down');
    assert.equal(after.computes[0]!.state, 'running');
    assert.match(await ok('inspect', 'wal', '-n', '1'), /^rmgr: /);
  });

  it('stop -m smart waits for sessions and says so; fast does not', async () => {
    const session = login('open sesame');
    session.on('error', () => undefined); // it is about to be cut off
    await session.connect();
    const { stderr } = await fails(1, /server does not shut down/, 'stop', '-m', 'smart', '-t', '1');
    assert.match(stderr, /hint: The "-m fast" option disconnects sessions/);
    assert.match(await ok('stop', '-m', 'fast'), /server stopped/);
    await noneLeft();
    await fails(3, /^$/, 'status');
    await fails(1, /no storage node of cluster .* can be reached/, 'inspect', 'wal');
    assert.match(await ok('inspect', 'wal', path.join(root, 'storage/1'), '-n', '1'), /^rmgr: /);
  });

  it("inspect wal shows a node's log up to a torn tail, or to damage, and says where", async () => {
    const whole = (await ok('inspect', 'wal', path.join(root, 'storage/1'))).trimEnd().split('\n');
    const spoil = async (
      name: string,
      how: (file: string, size: number) => Promise<void>,
    ): Promise<CliResult> => {
      const copy = path.join(dir, name);
      await fs.cp(path.join(root, 'storage/1/log'), copy, { recursive: true });
      const file = path.join(copy, (await fs.readdir(copy)).sort().at(-1)!);
      await how(file, (await fs.stat(file)).size);
      return fails(1, /error in WAL record|is damaged/, 'inspect', 'wal', copy);
    };
    // Into the payload: a frame that only lacks part of its trailer is whole.
    const torn = await spoil('torn', (file, size) => fs.truncate(file, size - 100));
    assert.match(torn.stderr, /error in WAL record at \S+: incomplete write in \S+torn\S+ at offset \d+/);
    const flipped = await spoil('flipped', async (file, size) => {
      const bytes = await fs.readFile(file);
      bytes[size >> 1]! ^= 0x10;
      await fs.writeFile(file, bytes);
    });
    assert.match(flipped.stderr, /flipped\S+: log \[\S+, \S+\) is damaged at offset \d+/);
    for (const { stdout } of [torn, flipped]) {
      const lines = stdout.trimEnd().split('\n');
      assert.ok(lines.length > 1000 && lines.length < whole.length);
      assert.deepEqual(lines, whole.slice(0, lines.length), 'what comes before is there, and right');
    }
  });

  it('start --no-wait returns before the server is ready', async () => {
    assert.match(await ok('start', '--no-wait'), /server starting/);
    await until('the server is ready', async () => (await report()).computes[0]!.state === 'running');
    assert.match(await ok('restart', '-m', 'immediate'), /server stopped[\s\S]*server started on port/);
  });

  it('stop --no-wait stops all of it in the end', async () => {
    await ok('dropdb', 'survivor');
    assert.match(await ok('stop', '--no-wait'), /server shutting down/);
    await noneLeft();
    assert.match(await ok('restart'), /server was not running; starting it anyway/);
  });
});

/** For states that have no event to wait for. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 60_000; !(await holds());) {
    assert.ok(Date.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
