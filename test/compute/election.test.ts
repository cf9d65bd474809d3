/** Elections over nodes that answer by hand: who is the donor, what happens to those who are overtaken, refused, or too few. */
import assert from 'node:assert/strict';
import { elect } from '../../src/compute/election.js';
import { DbError, isDbError } from '../../src/engine/errors.js';
import { lsn } from '../../src/engine/lsn.js';
import { QuorumConfig } from '../../src/engine/quorum/config.js';
import { FakeLinks, FakeNode, settle, silent } from './fake-storage.js';

const BASE = lsn(1024 * 1024);
const config = new QuorumConfig({ voters: ['1', '2', '3'], writeQuorum: 2, readQuorum: 2 });
const SOON_MS = 150;

describe('elect', () => {
  let links: FakeLinks;
  let nodes: FakeNode[];

  beforeEach(() => {
    links = new FakeLinks();
    nodes = [100, 300, 200].map((end, i) => new FakeNode(String(i + 1), BASE, lsn(BASE + end)));
  });

  const up = (...ids: number[]): void => ids.forEach((id) => links.up(nodes[id - 1]!));
  const run = (timeoutMs = 5000): ReturnType<typeof elect> =>
    elect(links.asLinks(), config, silent, timeoutMs);

  it('takes the longest log of the newest epoch, and its end and state from that node', async () => {
    up(1, 2, 3);
    nodes[2]!.write(Buffer.alloc(500)); // longer, but only with a torn record
    const { core, recoveryLsn, state } = await run();
    assert.equal(core.phase, 'leading');
    assert.equal(recoveryLsn, BASE + 200);
    assert.deepEqual(state, { of: '3', at: BASE + 200 });
    assert.ok(nodes.every((node) => node.promised === core.epoch));
  });

  it('prefers a newer epoch to a longer log', async () => {
    nodes[0]!.history = [{ epoch: 0, startLsn: BASE }, { epoch: 4, startLsn: lsn(BASE + 50) }]; // prettier-ignore
    up(1, 2, 3);
    const { recoveryLsn, state } = await run();
    assert.equal(recoveryLsn, BASE + 100);
    assert.deepEqual(state, { of: '1', at: BASE + 100 });
  });

  it('goes above every epoch that a node has promised', async () => {
    nodes[1]!.promised = 41;
    up(1, 2, 3);
    assert.equal((await run()).core.epoch, 42);
  });

  it('waits for enough nodes to connect', async () => {
    up(2);
    const election = run();
    setTimeout(() => up(3), 30);
    assert.equal((await election).recoveryLsn, BASE + 300);
  });

  it('gives up with QUORUM_LOST when they do not come', async () => {
    up(1);
    await assert.rejects(run(SOON_MS), (err) => isDbError(err, 'QUORUM_LOST') && /1 of 3/.test(err.message));
    assert.deepEqual(links.eventNames(), []);
  });

  it('does without a node that hangs', async () => {
    up(1, 2, 3);
    links.client('2')!.promise = () => new Promise(() => undefined);
    const begun = Date.now();
    assert.equal((await run()).recoveryLsn, BASE + 200);
    assert.ok(Date.now() - begun < 2000);
  });

  it('waits for learners to become voters, and names them when they do not', async () => {
    nodes[0]!.learner = 'damaged-log';
    up(1, 2);
    await assert.rejects(
      run(SOON_MS),
      (err) => isDbError(err, 'QUORUM_LOST') && /1 of them cannot vote/.test(err.message),
    );
    const election = run();
    setTimeout(() => (nodes[0]!.learner = null), 30);
    assert.equal((await election).recoveryLsn, BASE + 300);
  });

  it('one node that refuses us is no obstacle, two are', async () => {
    links.refuse('1');
    const election = run();
    up(2, 3);
    assert.equal((await election).recoveryLsn, BASE + 300);

    const other = new FakeLinks();
    const refused = assert.rejects(elect(other.asLinks(), config, silent, 60_000), (err) =>
      isDbError(err, 'NET_AUTH'),
    );
    other.refuse('1');
    other.refuse('2');
    await refused;
    // Also when it was known before.
    await assert.rejects(elect(other.asLinks(), config, silent, 60_000), (err) => isDbError(err, 'NET_AUTH'));
  });

  it('turns to the next donor when the best cannot be read, as long as enough promises remain', async () => {
    nodes[1]!.failing.logTail = new DbError('LOG_DAMAGED', 'damaged');
    up(1, 2, 3);
    const { recoveryLsn } = await run();
    assert.equal(recoveryLsn, BASE + 200);
  });

  it('never starts from a shorter log because the only others cannot be read', async () => {
    nodes[1]!.failing.logTail = new DbError('LOG_DAMAGED', 'damaged');
    up(1, 2);
    await assert.rejects(run(SOON_MS), (err) => isDbError(err, 'QUORUM_LOST'));
  });

  it('a promise that comes while the donor is read makes it look again', async () => {
    let answer = (): void => undefined;
    up(1, 3, 2);
    const late = links.client('2')!;
    const promise = late.promise.bind(late);
    late.promise = async (request) => {
      await new Promise<void>((resolve) => (answer = resolve));
      return promise(request);
    };
    nodes[2]!.beforeTail = async () => {
      answer();
      await settle();
    };
    const { recoveryLsn, state } = await run();
    assert.equal(recoveryLsn, BASE + 300, 'node 2 has the longer log');
    assert.deepEqual(state, { of: '2', at: BASE + 300 });
  });

  it('overtaken once, it tries again above; overtaken always, it says so', async () => {
    up(1, 2, 3);
    let rivals = 1;
    for (const node of nodes) {
      const honest = node.promise.bind(node);
      node.promise = (request) => {
        if (rivals > 0 && node.id === '1') {
          rivals--;
          for (const n of nodes) n.promised = Math.max(n.promised, request.epoch + 5);
        }
        return honest(request);
      };
    }
    const { core } = await run();
    assert.equal(core.epoch, 7);
    rivals = Infinity;
    await assert.rejects(run(), (err) => isDbError(err, 'EPOCH_CONTENDED') && err.reaction === 'fence');
  });
});
