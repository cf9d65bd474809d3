/**
 * The committed log as one stream from whichever node lives: every byte once and in order over any change of nodes; a node that is behind is
 * left for one that is not; a node with another past is never believed; and when the log is gone everywhere, that is said.
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { LogRelay } from '../../src/compute/log-relay.js';
import type { StorageLinks } from '../../src/compute/storage-links.js';
import { DbError } from '../../src/engine/errors.js';
import { lsn, type Lsn } from '../../src/engine/lsn.js';
import type { EpochHistory } from '../../src/engine/quorum/types.js';
import { silent } from './fake-storage.js';

const BEGIN = 1000;
const LOG = Buffer.from(Array.from({ length: 5000 }, (_, i) => i % 251));
const HISTORY: EpochHistory = [
  { epoch: 0, startLsn: lsn(BEGIN) },
  { epoch: 2, startLsn: lsn(BEGIN + 1000) },
];

/** A node that has committed log up to `commit`, and gives it in pieces. */
class Node {
  isOpen = true;
  history = HISTORY;
  log = LOG;
  failure: DbError | null = null;
  asked = 0;

  constructor(
    readonly nodeId: string,
    public commit: number,
    private readonly pieceBytes = 100,
  ) {}

  async readCommitted({ begin }: { begin: Lsn }): Promise<unknown> {
    this.asked++;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failure) throw this.failure;
    const end = Math.max(begin, Math.min(this.commit, begin + this.pieceBytes));
    const bytes = this.log.subarray(begin - BEGIN, end - BEGIN);
    const history = this.history.filter((entry) => entry.startLsn <= this.commit);
    return { begin, commitLsn: lsn(this.commit), history, bytes };
  }
}

function linksOf(nodes: Node[]): StorageLinks {
  const links = {
    connected: () => nodes.filter((node) => node.isOpen),
    client: (id: string) => nodes.find((node) => node.nodeId === id && node.isOpen),
  };
  return links as unknown as StorageLinks;
}

/** Reads up to `end`; `onPiece` may change the world. */
async function readTo(
  relay: LogRelay,
  end: number,
  onPiece: (at: number) => void = () => undefined,
): Promise<Buffer> {
  const stop = new AbortController();
  const parts: Buffer[] = [];
  let at = BEGIN;
  for await (const piece of relay.read(lsn(BEGIN), stop.signal)) {
    assert.equal(piece.begin, at);
    parts.push(piece.bytes);
    at += piece.bytes.length;
    if (at >= end) stop.abort();
    onPiece(at);
  }
  return Buffer.concat(parts);
}

describe('log relay', () => {
  const random = (): number => 0;

  it('goes on with another node at the very byte where the first one ended', async () => {
    const nodes = [new Node('1', BEGIN + 5000), new Node('2', BEGIN + 5000), new Node('3', BEGIN + 5000)];
    const relay = new LogRelay(linksOf(nodes), silent, { random });
    const log = await readTo(relay, BEGIN + 5000, (at) => {
      if (at > BEGIN + 1500) nodes[0]!.isOpen = false;
      if (at > BEGIN + 3000) nodes[1]!.failure = new DbError('NET_CLOSED', 'gone');
    });
    assert.ok(log.equals(LOG));
    assert.equal(relay.switches, 3);
    assert.equal(relay.node, '3');
    assert.equal(relay.epoch, 2);
    assert.equal(relay.bytes, 5000);
  });

  it('leaves a node that is behind what others are known to have', async () => {
    const nodes = [new Node('1', BEGIN + 500), new Node('2', BEGIN + 5000)];
    const relay = new LogRelay(linksOf(nodes), silent, { random });
    relay.heard(lsn(BEGIN + 5000));
    assert.ok((await readTo(relay, BEGIN + 5000)).equals(LOG));
    assert.equal(relay.node, '2');
  });

  it('tells of what is committed when it hears of it, and of each commit LSN once', () => {
    const relay = new LogRelay(new EventEmitter() as unknown as StorageLinks, silent);
    const told: number[] = [];
    relay.onCommit = (commitLsn) => told.push(commitLsn);
    for (const at of [10, 30, 20, 30, 40]) relay.heard(lsn(at));
    assert.deepEqual(told, [10, 30, 40]);
    assert.equal(relay.commitLsn, 40);
  });

  it('never takes log of another past', async () => {
    const honest = new Node('1', BEGIN + 2000);
    const other = new Node('2', BEGIN + 5000);
    // Epoch 1 began where ours was still writing epoch 0: its bytes are others from there on.
    other.history = [HISTORY[0]!, { epoch: 1, startLsn: lsn(BEGIN + 800) }];
    other.log = Buffer.alloc(5000, 0xff);
    const relay = new LogRelay(linksOf([honest, other]), silent, { random });
    relay.heard(lsn(BEGIN + 5000));
    const log = await readTo(relay, BEGIN + 5000, (at) => {
      if (at === BEGIN + 2000) setTimeout(() => (honest.commit = BEGIN + 5000), 20);
    });
    assert.ok(other.asked > 0, 'it was asked, and not believed');
    assert.ok(log.equals(LOG));
  });

  it('ends when no node has the log any more, and not before', async () => {
    const nodes = [new Node('1', BEGIN + 5000), new Node('2', BEGIN + 5000)];
    nodes[0]!.failure = new DbError('LOG_GONE', 'gone', { reaction: 'retry' });
    const relay = new LogRelay(linksOf(nodes), silent, { random });
    assert.ok((await readTo(relay, BEGIN + 5000)).equals(LOG));
    nodes[1]!.failure = nodes[0]!.failure;
    await assert.rejects(readTo(relay, BEGIN + 5000), { code: 'LOG_GONE' });
  });
});
