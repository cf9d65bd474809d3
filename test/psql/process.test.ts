/** What only a real process shows: signals, closed pipes, children that share our streams, input that stays open. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { LOADER } from '../helpers/loader.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { baseEnv, runProcess } from './harness.js';

const PROGRAM = [process.execPath, ...LOADER, fileURLToPath(new URL('run-psql.ts', import.meta.url))];

describe('psql as a process', function () {
  this.timeout(30_000);
  let server: PlainPostgres;
  let env: Record<string, string>;

  before(async () => {
    server = await startPlainPostgres();
    env = baseEnv(server);
  });
  after(() => server.destroy());

  function start(args: string[]): { child: ChildProcess; out: () => string; err: () => string } {
    const child = spawn(PROGRAM[0]!, [...PROGRAM.slice(1), ...args], { env });
    let out = '';
    let err = '';
    child.stdout!.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr!.on('data', (chunk: Buffer) => (err += chunk.toString()));
    return { child, out: () => out, err: () => err };
  }

  it('shares its output with children, in order', async () => {
    const stdin = "select 1;\n\\! echo from the shell\nselect 2 \\g |sed 's/^/| /'\n\\echo last\n";
    const result = await runProcess(PROGRAM, { args: ['-X', '-At'], stdin }, env);
    assert.deepEqual(result, { stdout: '1\nfrom the shell\n| 2\nlast\n', stderr: '', status: 0 });
  });

  it('answers each line while its input stays open, and ends with \\q', async () => {
    const { child, out } = start(['-X', '-At']);
    child.stdin!.write('select 41 + 1;\n');
    while (!out().includes('42')) await once(child.stdout!, 'data');
    child.stdin!.write('\\q\n');
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(status, 0);
  });

  it('cancels the running query on SIGINT', async () => {
    const { child, err } = start([
      '-X',
      '-c',
      "set application_name = 'to cancel'",
      '-c',
      'select pg_sleep(60)',
    ]);
    const isAsleep =
      "select 1 from pg_stat_activity where application_name = 'to cancel' and wait_event = 'PgSleep'";
    while ((await server.sql(isAsleep)).length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill('SIGINT');
    const [status] = (await once(child, 'close')) as [number];
    assert.equal(err(), 'Cancel request sent\nERROR:  canceling statement due to user request\n');
    assert.equal(status, 1);
  });

  it('stops quietly when its reader goes away', async () => {
    const command = `'${PROGRAM.join("' '")}' -X -Atc 'select generate_series(1, 200000)' | head -n 1`;
    const result = await runProcess(['/bin/sh', '-c', command], { args: [] }, env);
    assert.deepEqual(result, { stdout: '1\n', stderr: '', status: 0 });
  });

  it('holds back a large COPY for a slow reader without losing any of it', async () => {
    const command = `'${PROGRAM.join("' '")}' -X -c "copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout" | (sleep 1; wc -c)`;
    const result = await runProcess(['/bin/sh', '-c', command], { args: [] }, env);
    assert.equal(result.stdout.trim(), String(20000 * 1001));
  });
});
