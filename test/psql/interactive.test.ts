/** The prompt: what it says, what ^C and ^D and Tab do, what is remembered. Keys go in, the screen's text comes out. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import type { ClusterState } from '../../src/psql/commands/aurora.js';
import type { DefaultServer } from '../../src/psql/connection.js';
import { runPsql } from '../../src/psql/main.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { baseEnv } from './harness.js';

const ESC = String.fromCharCode(27);
// Cursor movements and the like.
const ESCAPES = new RegExp(`${ESC}\\[[0-9;?]*[A-Za-z]`, 'g');

class Terminal {
  private readonly input = new PassThrough();
  private screen = '';
  /** With its control sequences. */
  raw = '';
  private seen = 0;
  private changed: () => void = () => undefined;
  readonly done: Promise<number>;

  constructor(
    args: string[],
    env: Record<string, string>,
    cluster: { fallback: DefaultServer; state: () => Promise<ClusterState> } | null = null,
  ) {
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.raw += chunk.toString();
        this.screen += chunk.toString().replace(ESCAPES, '');
        this.changed();
        done();
      },
    });
    const io = {
      stdin: this.input,
      stdout: output,
      stderr: output,
      env,
      stdinIsTty: true,
      stdoutIsTty: true,
      isProcess: false,
    };
    this.done = runPsql(['-X', ...args], io, () => cluster?.fallback ?? null, cluster?.state);
  }

  type(keys: string): void {
    this.input.write(keys);
  }

  end(): void {
    this.input.end();
  }

  /** Waits until `text` shows after what was shown before, and returns all up to its end. */
  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.screen.indexOf(text, this.seen);
      if (at >= 0) {
        const shown = this.screen.slice(this.seen, at + text.length);
        this.seen = at + text.length;
        return shown;
      }
      const change = new Promise<void>((resolve) => (this.changed = resolve));
      const ended = this.done.then((status) => assert.fail(`psql ended with ${status} before ${text}`));
      await Promise.race([change, ended]);
    }
  }
}

describe('psql at a terminal', function () {
  this.timeout(20_000);
  let server: PlainPostgres;
  let env: Record<string, string>;
  let home: string;

  before(async () => {
    server = await startPlainPostgres();
    home = fs.mkdtempSync(path.join(os.tmpdir(), 'oa-psql-home-'));
    env = { ...baseEnv(server), HOME: home, PAGER: '' };
  });
  after(async () => {
    fs.rmSync(home, { recursive: true, force: true });
    await server.destroy();
  });

  it('greets, and says in its prompt what it waits for', async () => {
    const term = new Terminal([], env);
    assert.match(
      await term.until('postgres=# '),
      /^aurora psql \(18[^\n]*\)\nType "help" for help\.\n\npostgres=# $/,
    );
    for (const [line, prompt] of [
      ["select 'a", "postgres'# "],
      ['b\', "c', 'postgres"# '],
      ['d", $x$', 'postgres$# '],
      ['$x$ /* comment', 'postgres*# '],
      ['*/ , (', 'postgres(# '],
      ['1)', 'postgres-# '],
      ['\\r', 'Query buffer reset (cleared).\npostgres=# '],
      ['begin;', 'BEGIN\npostgres=*# '],
      ['select 1/0;', 'ERROR:  division by zero\npostgres=!# '],
      ['rollback;', 'ROLLBACK\npostgres=# '],
    ] as const) {
      term.type(`${line}\r`);
      await term.until(prompt);
    }
    term.type('\\q\r');
    assert.equal(await term.done, 0);
  });

  it('forgets the line on ^C and leaves on ^D', async () => {
    const term = new Terminal(['-q'], env);
    await term.until('postgres=# ');
    term.type('select (\r');
    await term.until('postgres(# ');
    term.type('nonsense\x03');
    await term.until('postgres=# ');
    term.type('\\if 0\r');
    await term.until('postgres@# ');
    term.type('\x03');
    await term.until('\\if: escaped\npostgres=# ');
    term.type('\x04');
    assert.equal(await term.done, 0);
  });

  it('completes commands, tables and columns', async () => {
    await server.sql('create table completed_table (first_column int, second_column int)');
    const term = new Terminal(['-q'], env);
    await term.until('postgres=# ');
    term.type('select count(sec\x1b[D\x1b[C from completed_t\t');
    await term.until('completed_table');
    term.type('\x03');
    await term.until('postgres=# ');
    term.type('update completed_table set second_\t');
    await term.until('second_column');
    term.type('\x03');
    await term.until('postgres=# ');
    term.type('\\conn\t');
    await term.until('\\conn');
    term.type('info\r');
    await term.until('Connection Information');
    await term.until('postgres=# ');
    term.type('\\q\r');
    await term.done;
  });

  it('keeps a history across sessions, a statement an entry', async () => {
    const file = path.join(home, 'history');
    const own = { ...env, PSQL_HISTORY: file };
    const first = new Terminal(['-q', '-At'], own);
    await first.until('postgres=# ');
    first.type('select 40\r');
    await first.until('postgres-# ');
    first.type('+ 2;\r');
    await first.until('42\npostgres=# ');
    first.type('\\q\r');
    await first.done;
    assert.equal(fs.readFileSync(file, 'utf8'), 'select 40\x01+ 2;\n\\q\n');
    const second = new Terminal(['-q', '-At'], own);
    await second.until('postgres=# ');
    second.type('\x1b[A\x1b[A\r'); // up twice: past \q to the statement
    await second.until('42\npostgres=# ');
    second.type('\\q\r');
    await second.done;
  });

  it('takes several pasted lines at once', async () => {
    const term = new Terminal(['-q', '-At'], env);
    await term.until('postgres=# ');
    term.type('select 10 + 1;\rselect 20 + 2;\rselect 30');
    await term.until('11\n');
    await term.until('22\n');
    term.type(' + 3;\r');
    await term.until('33\npostgres=# ');
    term.end();
    assert.equal(await term.done, 0);
  });

  it('colours what is typed, unless NO_COLOR is set', async () => {
    const painted = `select${ESC}[39m ${ESC}[32m'x'${ESC}[39m`;
    for (const [extra, wanted] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
      [{ TERM: 'dumb' }, false],
    ] as const) {
      const term = new Terminal(['-q', '-At'], { ...env, ...extra });
      await term.until('postgres=# ');
      term.type("select 'x';");
      await term.until("'x';");
      term.type('\r');
      await term.until('x\npostgres=# ');
      assert.equal(term.raw.includes(painted), wanted);
      term.type('\\q\r');
      assert.equal(await term.done, 0);
    }
  });

  it('shows long results through the pager, and only those', async () => {
    const paged = { ...env, PSQL_PAGER: "sed 's/^/paged: /'" };
    const term = new Terminal(['-q', '-At', '-P', 'pager=always'], paged);
    await term.until('postgres=# ');
    term.type('select 40 + 2;\r');
    await term.until('paged: 42\n');
    term.type('\\pset pager off\rselect 40 + 3;\r');
    await term.until('\n43\n');
    term.type('\\q\r');
    assert.equal(await term.done, 0);
    assert.doesNotMatch(term.raw, /paged: 43/);
  });

  it('says which endpoint of a cluster it is at, and shows the cluster', async () => {
    const state: ClusterState = {
      directory: '/srv/cluster',
      volume: {
        id: 'v1',
        copies: 3,
        writeQuorum: 2,
        readQuorum: 2,
        epoch: 7,
        commitLsn: '0/50',
        appliedLsn: '0/48',
      },
      storage: [
        {
          id: '1',
          host: '127.0.0.1',
          port: 7001,
          state: 'running',
          voter: true,
          scl: '0/50',
          applied: '0/48',
          problem: null,
        },
        {
          id: '2',
          host: '127.0.0.1',
          port: 7002,
          state: 'running',
          voter: false,
          scl: '0/40',
          applied: '0/40',
          problem: 'is being rebuilt',
        },
      ],
      computes: [
        {
          name: 'primary',
          role: 'primary',
          state: 'running',
          host: '127.0.0.1',
          port: 5432,
          commitLsn: '0/50',
          problem: null,
        },
      ],
    };
    const { PGHOST, PGPORT, PGUSER, ...unnamed } = env;
    const fallback = { host: PGHOST!, port: Number(PGPORT), user: PGUSER! };
    const term = new Terminal(['-q'], unnamed, { fallback, state: () => Promise.resolve(state) });
    await term.until('postgres@primary=# ');
    term.type('\\aurora\r');
    for (const part of [
      'Cluster in /srv/cluster',
      '127.0.0.1:7001',
      'running, learner',
      'is being rebuilt',
      'Where the log stands',
      'Commit or replay LSN',
    ])
      await term.until(part);
    term.type('\\lsn where\r\\echo [:where]\r');
    assert.match(await term.until(']\n'), /\[[0-9A-F]+\/[0-9A-F]+\]\n$/);
    term.type('\\asof 0/50 select 1\r');
    await term.until('no compute of this cluster reads the past yet');
    term.type('\\q\r');
    assert.equal(await term.done, 0);
  });

  it('reconnects once when the server closes the connection, and goes on without when it cannot', async () => {
    const own = await startPlainPostgres();
    try {
      const term = new Terminal(['-q', '-At'], { ...env, PGHOST: own.socketDir });
      await term.until('postgres=# ');
      term.type('select pg_terminate_backend(pg_backend_pid());\r');
      await term.until('Attempting reset: Succeeded.\npostgres=# ');
      await own.stop('immediate');
      term.type('select 1;\r');
      await term.until('Attempting reset: Failed.\n!?> ');
      term.type('select 1;\r');
      await term.until('You are currently not connected to a database.\n!?> ');
      term.type('\\c nowhere\r');
      await term.until('No such file or directory');
      term.type('\\q\r');
      assert.equal(await term.done, 0);
    } finally {
      await own.destroy();
    }
  });

  it('goes on with the primary of its cluster, wherever that is by now', async () => {
    const former = await startPlainPostgres();
    try {
      const { PGHOST, PGPORT, PGUSER, ...unnamed } = env;
      const cluster = {
        fallback: { host: former.socketDir, port: former.port, user: PGUSER! },
        state: () => Promise.reject(new Error('not asked for')),
      };
      const term = new Terminal(['-q', '-At'], unnamed, cluster);
      await term.until('postgres@primary=# ');
      await former.stop('immediate');
      term.type('select 1;\r');
      await term.until('Attempting reset: Failed.\n!?> '); // nobody has followed it yet
      cluster.fallback = { host: PGHOST!, port: Number(PGPORT), user: PGUSER! };
      term.type('\\c\r');
      await term.until('postgres@primary=# ');
      term.type('select 40 + 2;\r');
      await term.until('42\n');
      term.type('\\q\r');
      assert.equal(await term.done, 0);
    } finally {
      await former.destroy();
    }
  });
});
