// `aurora inspect gossip` against storage nodes: each node's view, one node's, as JSON, a node that is down, a name that is none; --watch
// through a pipe goes on until its reader leaves or ^C, on a terminal it draws anew and ends at q and ^C with the terminal as it was.
import assert from 'node:assert/strict';
import path from 'node:path';
import { clusterLayout } from '../../src/cluster/layout.js';
import { Manifest } from '../../src/cluster/manifest.js';
import { parseLsn } from '../../src/engine/lsn.js';
import { hasTerminal, playTerminal } from '../helpers/terminal.js';
import { TestVolume } from '../storage/volume.js';
import { eventually } from '../helpers/cluster.js';
import { PROGRAM, aurora, type CliResult } from './cli.js';

interface Report {
  nodes: {
    id: string;
    problem: string | null;
    members: { id: string; self: boolean; state: string; incarnation: number; scl: string; newsAgeMs: number | null }[] | null; // prettier-ignore
  }[];
}

describe('aurora inspect gossip', function () {
  this.timeout(120_000);
  let volume: TestVolume;
  const gossip = { intervalMs: 200 };
  const inspect = (...args: string[]): Promise<CliResult> =>
    aurora(['inspect', 'gossip', '-D', volume.root, ...args]);

  /** A node whose machine is busy may be suspected for a moment. */
  const whenAlive = (...args: string[]): Promise<CliResult> =>
    eventually('nobody is suspected', async () => {
      const result = await inspect(...args);
      return /suspect|dead/.test(result.stdout) ? null : result;
    });

  before(async () => {
    volume = await TestVolume.create(['n1', 'n2'], []);
    for (const { id } of volume.nodes) await volume.start(id, { gossip });
    Manifest.create(
      clusterLayout(volume.root),
      {
        volumeId: 'test-volume',
        systemId: '1',
        superuser: 'postgres',
        copies: 2,
        writeQuorum: 2,
        readQuorum: 1,
        pgBindir: null,
        runAs: null,
        socketDir: volume.root,
        createdAt: new Date().toISOString(),
      },
      volume.nodes.map(({ id, dir, endpoint }) => ({ id, dir, ...endpoint })),
      { name: 'primary', role: 'primary', port: 5432, dir: path.join(volume.root, 'compute') },
    );
    for (const { id } of volume.nodes) {
      const client = await volume.client(id);
      await eventually(`node ${id} knows all to be alive`, async () => {
        const { members } = await client.gossipView();
        return members.every(({ state }) => state === 'alive');
      });
    }
  });
  after(() => volume?.destroy());

  it('prints the view of each node', async () => {
    const { status, stdout, stderr } = await whenAlive();
    assert.deepEqual([status, stderr], [0, '']);
    const [first, second] = stdout.split('\n\n');
    assert.match(first!, /^view of node n1 .*\nmember +state +incarnation +epoch +SCL +applied +commit +GC +load +news +address\nn1 \(itself\) +alive +1000\d .*\nn2 +alive +1000\d +0 +0\/\w+ .* \d\.\d s +127/); // prettier-ignore
    assert.match(second!, /^view of node n2 .*\n.*\nn1 +alive .*\nn2 \(itself\) +alive/);
  });

  it('--node and --json: that node’s alone, with positions as PostgreSQL writes them', async () => {
    const { status, stdout } = await whenAlive('--node', 'n2', '--json');
    assert.equal(status, 0);
    const { nodes } = JSON.parse(stdout) as Report;
    assert.deepEqual(nodes.map(({ id }) => id), ['n2']); // prettier-ignore
    const n1 = nodes[0]!.members!.find(({ id }) => id === 'n1')!;
    assert.deepEqual([n1.self, n1.state, parseLsn(n1.scl)], [false, 'alive', volume.recording.importLsn]);
    assert.ok(n1.newsAgeMs! >= 0 && n1.newsAgeMs! < 60_000);
  });

  it('refuses a node that is none, and says which there are', async () => {
    const { status, stdout, stderr } = await inspect('--node', 'n9');
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /^aurora inspect gossip: error: cluster ".*" has no storage node "n9"\naurora inspect gossip: hint: It has: n1, n2\.\n$/); // prettier-ignore
  });

  it('--watch through a pipe goes on, and ends in order at ^C and when its reader has gone', async () => {
    const watched = await aurora(['inspect', 'gossip', '-D', volume.root, '--watch', '--json'], {
      started: (child) => {
        let seen = '';
        child.stdout!.on('data', (chunk: Buffer) => {
          seen += chunk.toString();
          if (seen.split('\n').length > 2) child.kill('SIGINT');
        });
      },
    });
    assert.deepEqual([watched.status, watched.stderr], [0, '']);
    const lines = watched.stdout.trimEnd().split('\n');
    assert.ok(lines.length >= 2, watched.stdout);
    for (const line of lines) assert.equal((JSON.parse(line) as Report).nodes.length, 2);
    const left = await aurora(['inspect', 'gossip', '-D', volume.root, '--watch'], {
      started: (child) => child.stdout!.once('data', () => child.stdout!.destroy()),
    });
    assert.deepEqual([left.status, left.stderr], [0, '']);
  });

  for (const [name, key] of [
    ['q', 'q'],
    ['^C', '\x03'],
  ] as const)
    // prettier-ignore
    it(`--watch on a terminal draws anew, and ends at ${name} with the terminal as it was`, async function () {
      if (!hasTerminal()) this.skip();
      const command = `${process.execPath} ${PROGRAM} inspect gossip -D ${volume.root} --watch`;
      const { screen, status, modesKept } = await playTerminal(command, { rows: 30, columns: 150 }, (seen) =>
        seen.split('q: quit').length > 3 ? key : null,
      );
      assert.match(screen, /view of node n1/);
      assert.equal(status, 0);
      assert.ok(screen.lastIndexOf('\x1b[?25h') > screen.lastIndexOf('\x1b[?25l'), 'the cursor is back');
      assert.ok(modesKept);
    });

  it('shows a node that is down as such, and to the other as left; without any node it fails', async () => {
    await volume.stop('n2');
    const { status, stdout } = await inspect();
    assert.equal(status, 0);
    assert.match(
      stdout,
      /\nn2 +left +1000\d .*\n\nnode n2 \(127\.0\.0\.1:\d+\) does not answer: .*ECONNREFUSED/,
    );
    assert.equal((await inspect('--node', 'n2')).status, 1);
    await volume.stop('n1');
    const none = await inspect();
    assert.equal(none.status, 1);
    assert.match(none.stderr, /no storage node of cluster .* can be reached .*\n.*hint: Start the cluster with: aurora start/); // prettier-ignore
  });
});
