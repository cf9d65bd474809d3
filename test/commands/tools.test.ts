// The commands that look at a running cluster or steer it, against one: aurora top.
import assert from 'node:assert/strict';
import type { TopReport } from '../../src/inspect/top.js';
import { TestCluster } from '../helpers/cluster.js';
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
});
