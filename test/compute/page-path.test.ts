/** Paths of a data directory to the volume's terms and back; anything that is not a page file is refused. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { databaseDir, parseDataPath, relationPath, slruSegmentPath } from '../../src/compute/page-path.js';
import { isDbError } from '../../src/engine/errors.js';
import { SLRU_PAGES_PER_SEGMENT, type SlruName } from '../../src/engine/pages/effects/index.js';

describe('page paths', () => {
  it('names what PostgreSQL names', () => {
    const rel = (path: string): unknown => {
      const { kind, ...rest } = parseDataPath(path) as ReturnType<typeof parseDataPath> & {
        kind: 'relation';
      };
      return { kind, ...rest.rel, fork: rest.fork, firstBlock: rest.firstBlock };
    };
    const base = { kind: 'relation', spcOid: 1663, dbOid: 5, relNumber: 1259, fork: 0, firstBlock: 0 };
    assert.deepEqual(rel('base/5/1259'), base);
    assert.deepEqual(rel('base/5/1259_fsm'), { ...base, fork: 1 });
    assert.deepEqual(rel('base/5/1259_vm.2'), { ...base, fork: 2, firstBlock: 2 * 131072 });
    assert.deepEqual(rel('base/5/1259_init'), { ...base, fork: 3 });
    assert.deepEqual(rel('global/1260.1'), {
      ...base,
      spcOid: 1664,
      dbOid: 0,
      relNumber: 1260,
      firstBlock: 131072,
    });
    assert.deepEqual(rel('pg_tblspc/16384/PG_18_202506291/5/7'), { ...base, spcOid: 16384, relNumber: 7 });
    assert.deepEqual(parseDataPath('pg_xact/000A'), { kind: 'slru', slru: 'xact', firstBlock: 320 });
    assert.deepEqual(parseDataPath('pg_multixact/members/14078'), {
      kind: 'slru',
      slru: 'multixact_members',
      firstBlock: 0x14078 * 32,
    });
  });

  it('gives back what it was made of', () => {
    const oid = fc.integer({ min: 1, max: 0xffffffff });
    fc.assert(
      fc.property(fc.constantFrom(1663, 1664, 16500), oid, oid, fc.nat(3), (spcOid, db, relNumber, fork) => {
        const rel = { spcOid, dbOid: spcOid === 1664 ? 0 : db, relNumber };
        const parsed = parseDataPath(relationPath(rel, fork));
        assert.deepEqual(parsed, { kind: 'relation', rel, fork, firstBlock: 0 });
        assert.ok(relationPath(rel, fork).startsWith(`${databaseDir(spcOid, rel.dbOid)}/`));
      }),
    );
    const slrus: SlruName[] = ['xact', 'multixact_offsets', 'multixact_members', 'commit_ts'];
    fc.assert(
      fc.property(fc.constantFrom(...slrus), fc.nat(0xffff_ff), (slru, pageno) => {
        const firstBlock = pageno - (pageno % SLRU_PAGES_PER_SEGMENT);
        assert.deepEqual(parseDataPath(slruSegmentPath(slru, pageno)), { kind: 'slru', slru, firstBlock });
      }),
    );
  });

  it('refuses everything else', () => {
    const others = ['', 'PG_VERSION', 'base/5/PG_VERSION', 'base/5/t3_1259', 'base/5/pg_filenode.map', 'global/pg_control', 'base/5/../5/1', '/base/5/1', 'base/5/1259_xyz', 'base/5/1259.', 'base/5/1259 ', 'pg_wal/000000010000000000000001', 'pg_subtrans/0000', 'pg_xact/000a', 'pg_xact/0', 'pg_tblspc/1/PG_17_1/5/7', 'pg_notify/0000', 'base/5/1\n']; // prettier-ignore
    for (const path of others)
      assert.throws(
        () => parseDataPath(path),
        (err) => isDbError(err, 'COMPUTE_BAD_PATH'),
        JSON.stringify(path),
      );
  });
});
