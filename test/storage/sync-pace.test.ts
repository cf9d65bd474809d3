import { strict as assert } from 'node:assert';
import { SyncPace } from '../../src/storage/sync-pace.js';

describe('the pace of log syncs', () => {
  let nowMs = 0;
  let pace: SyncPace;
  const sync = (tookMs: number): void => {
    pace.begin();
    nowMs += tookMs;
    pace.end();
  };

  beforeEach(() => {
    nowMs = 1000;
    pace = new SyncPace(() => nowMs);
  });

  it('is told by the median of some syncs, not by one', () => {
    assert.equal(pace.seconds, 0);
    sync(900);
    assert.equal(pace.seconds, 0);
    for (let i = 0; i < 5; i++) sync(4);
    assert.equal(pace.seconds, 0.004);
    for (let i = 0; i < 5; i++) sync(300);
    assert.equal(pace.seconds, 0.3);
    for (let i = 0; i < 5; i++) sync(4);
    assert.equal(pace.seconds, 0.004);
  });

  it('is not told by syncs of long ago', () => {
    for (let i = 0; i < 8; i++) sync(300);
    nowMs += 5000;
    assert.equal(pace.seconds, 0.3);
    nowMs += 10_000;
    assert.equal(pace.seconds, 0);
  });

  it('is told by one that hangs', () => {
    for (let i = 0; i < 8; i++) sync(4);
    pace.begin();
    nowMs += 30_000;
    assert.equal(pace.seconds, 30);
    pace.end();
    for (let i = 0; i < 8; i++) sync(4);
    assert.equal(pace.seconds, 0.004);
  });
});
