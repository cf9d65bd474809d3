// Copies over zones: what the quorums forgive there, and that a change does not make the spread worse unless it is forced.
import assert from 'node:assert/strict';
import { assertEven, emptiestZone, zoneTolerance } from '../../src/cluster/placement.js';
import { isDbError } from '../../src/engine/errors.js';
import { defaultQuorum } from '../../src/engine/quorum/config.js';
import type { Configuration } from '../../src/engine/quorum/membership.js';

function spread(zones: string): Configuration {
  const members = [...zones].map((zone, i) => ({ id: `${i + 1}`, host: 'h', port: 1, zone: zone === '-' ? '' : zone, voter: true })); // prettier-ignore
  return { generation: 1, members, ...defaultQuorum(members.length) };
}

describe('placement over zones', () => {
  it('6/4/3 over three zones of two: writes go on without a zone, data outlives a zone and one more node', () => {
    const all = { writesWithoutAZone: true, keepsDataWithoutAZoneAndOne: true };
    assert.deepEqual(zoneTolerance(spread('abcabc')), all);
    assert.deepEqual(zoneTolerance(spread('aaabbc')), { writesWithoutAZone: false, keepsDataWithoutAZoneAndOne: false }); // prettier-ignore
    assert.deepEqual(zoneTolerance(spread('abc')), { writesWithoutAZone: true, keepsDataWithoutAZoneAndOne: false }); // prettier-ignore
    assert.equal(zoneTolerance(spread('---')), null);
  });

  it('puts a new node where the fewest are, and refuses one elsewhere, or the last of a zone gone', () => {
    assert.equal(emptiestZone(spread('abcab')), 'c');
    assert.equal(emptiestZone(spread('---')), '');
    const uneven = (from: string, to: string): void =>
      assert.throws(
        () => assertEven(spread(from), spread(to)),
        (err) => isDbError(err, 'MEMBER_UNEVEN'),
      );
    uneven('abcab', 'abcaba');
    uneven('abc', 'ab');
    assertEven(spread('abcabc'), spread('abcabca'));
    assertEven(spread('abcabc'), spread('bcabc'));
    assertEven(spread('aaabbc'), spread('aabbc')); // better than it was
    assertEven(spread('---'), spread('----'));
  });
});
