// When damaged pages that were set aside are wanted again.
import assert from 'node:assert/strict';
import { pino } from 'pino';
import type { NodeStatus } from '../../src/net/node-status.js';
import type { Peers } from '../../src/storage/peers.js';
import { RebuildSource } from '../../src/storage/rebuild-source.js';

interface Said {
  applied?: number;
  /** Its own pages are damaged. */
  damaged?: boolean;
}

/** The source of node 2, whose peers say this of themselves. */
function source(peers: Record<string, Said>, nothingToLose = true): RebuildSource {
  const all = Object.entries(peers).map(([id, { applied = 1000, damaged = false }]) => ({
    id,
    client: {},
    lastError: null,
    status: {
      voter: true,
      state: 'running',
      damaged: [],
      appliedLsn: applied,
      commitLsn: 1000,
      rebuild: damaged ? { cause: 'a checksum' } : null,
      ingestError: null,
    } as unknown as NodeStatus,
  }));
  return new RebuildSource(
    () => ({ all, connected: all }) as unknown as Peers,
    { nodeId: '2', nothingToLose: () => nothingToLose },
    pino({ level: 'silent' }),
  );
}

describe('pages that were set aside', () => {
  const wanted = (peers: Record<string, Said>, unreadable = true): boolean =>
    source(peers).needsWhatIsAside(unreadable);

  it('are not, while a peer is whole: what it cannot read will show that it is not', () => {
    assert.equal(wanted({ 1: { damaged: true }, 3: {} }), false);
    assert.equal(wanted({ 1: {}, 3: {} }), false);
  });

  it('are, when no node has pages', () => {
    assert.equal(wanted({ 1: { applied: 0 }, 3: { applied: 0 } }, false), true);
    assert.equal(wanted({ 1: { applied: 0 }, 3: {} }, false), false);
  });

  it('are, when a page can be read nowhere and another node has set its own aside', () => {
    assert.equal(wanted({ 1: { applied: 0 }, 3: {} }), true);
  });

  it('are, when a page can be read nowhere and no peer is whole: one that is behind may have it', () => {
    assert.equal(wanted({ 1: { damaged: true, applied: 500 }, 3: { damaged: true } }), true);
    assert.equal(wanted({ 1: { damaged: true, applied: 500 }, 3: { damaged: true } }, false), false);
  });
});
