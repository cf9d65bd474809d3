import assert from 'node:assert/strict';
import { isDbError } from '../../src/engine/errors.js';
import { checkNodeStatus, type NodeStatus } from '../../src/net/node-status.js';

describe('net: what a node says of itself', () => {
  const GOOD = {
    id: 'n1', volumeId: 'v', pid: 1, generation: 1, state: 'running', voter: true, learnerReason: null,
    promisedEpoch: 1, promisedWriter: 'w', history: [], scl: 8, commitLsn: 8, appliedLsn: 8, logStart: 8, damaged: [],
    ingestError: null, writeError: null, catchUp: {}, disk: {}, membership: {}, rebuild: null, gcLsn: 0, vacuum: {}, scrub: {}, metrics: {},
  }; // prettier-ignore
  const check = (status: unknown): NodeStatus => checkNodeStatus(status as NodeStatus);

  it('is taken as it is, with fields that we do not know', () => {
    const status = { ...GOOD, rebuild: { cause: null }, later: 1 };
    assert.equal(check(status), status);
  });

  it('is refused when something is missing or of another kind, by its name', () => {
    for (const field of ['id', 'voter', 'scl', 'history', 'membership', 'rebuild', 'metrics']) {
      const bad = (value: unknown) =>
        assert.throws(
          () => check({ ...GOOD, [field]: value }),
          (err) => isDbError(err, 'WIRE_BAD_VALUE') && err.message.includes(`"${field}"`),
        );
      bad(undefined);
      bad(Symbol('another kind'));
    }
    for (const none of [null, [], 'n1'])
      assert.throws(
        () => check(none),
        (err) => isDbError(err, 'WIRE_BAD_VALUE'),
      );
  });
});
