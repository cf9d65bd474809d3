/** Proves that docs/WAL-COVERAGE.md is complete: it has a row for each record type that redo knows, in order, and nothing is left unexplained. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { parseCoverage } from '../../verify/coverage-table.js';
import { SCENARIOS } from '../../verify/coverage-scenarios.js';
import { allRecordTypes, proofOf, UNPRODUCIBLE } from '../../verify/coverage-types.js';
import { workloadNames } from '../../helpers/redo-workload.js';

const REGENERATE = 'run npm run coverage:wal';

describe('docs/WAL-COVERAGE.md', () => {
  const document = readFileSync(new URL('../../../docs/WAL-COVERAGE.md', import.meta.url), 'utf8');
  const rows = parseCoverage(document);

  it('names exactly the record types of PostgreSQL 18 that redo knows', () => {
    const types = allRecordTypes();
    assert.equal(types.filter((type) => !type.endsWith('+INIT')).length, 118);
    assert.deepEqual(
      rows.map(({ type }) => type),
      types,
      REGENERATE,
    );
  });

  it('has seen and proven each of them, or says why not', () => {
    for (const { type, seen, compared, mismatched } of rows) {
      assert.equal(mismatched, 0, type);
      if (UNPRODUCIBLE.has(type)) {
        assert.equal(seen, 0, type);
        assert.ok(document.includes(`- \`${type}\`: ${UNPRODUCIBLE.get(type)}`), `${type}: ${REGENERATE}`);
      } else {
        assert.ok(seen > 0, `${type}: ${REGENERATE}`);
        assert.ok(compared > 0 || proofOf(type) !== null, `${type} is proven by nothing`);
      }
    }
  });

  it('is made from every workload', async () => {
    const used = new Set(SCENARIOS.flatMap(({ steps }) => steps.map(({ name }) => name)));
    assert.deepEqual(
      (await workloadNames()).filter((name) => !used.has(name)),
      [],
    );
  });
});
