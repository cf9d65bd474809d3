/** What this proves: heap pages are taken apart for inspection as pageinspect takes them apart. */
import assert from 'node:assert/strict';
import { heapFlagNames, heapItems, xidPrecedes } from '../../../src/engine/page/heap.js';
import { startPlainPostgres } from '../../helpers/plain-postgres.js';

interface Inspected {
  lp: number;
  lp_off: number;
  lp_flags: number;
  lp_len: number;
  t_xmin: string | null;
  t_xmax: string | null;
  t_field3: number | null;
  t_ctid: string | null;
  t_infomask: number | null;
  t_infomask2: number | null;
  t_hoff: number | null;
  t_bits: string | null;
  t_data: Buffer | null;
  /** raw_flags of heap_tuple_infomask_flags(). */
  names: string[] | null;
}

describe('heap tuples', () => {
  it('decode as pageinspect shows them', async function () {
    this.timeout(60_000);
    const server = await startPlainPostgres();
    try {
      await server.sql(`
        CREATE EXTENSION pageinspect;
        CREATE TABLE t (id int PRIMARY KEY, a text, b int, c timestamptz) WITH (autovacuum_enabled = off);
        INSERT INTO t SELECT g, repeat('x', g), CASE WHEN g % 3 > 0 THEN g END, now() FROM generate_series(1, 40) g;`);
      await server.sql('UPDATE t SET b = 0 WHERE id % 4 = 0; DELETE FROM t WHERE id % 5 = 0');
      await server.sql('VACUUM t');
      await server.sql('DELETE FROM t WHERE id IN (11, 13)');
      await server.sql('VACUUM (INDEX_CLEANUP off) t');
      await server.sql('UPDATE t SET b = 1 WHERE id = 7; SELECT * FROM t WHERE id = 9 FOR KEY SHARE');
      const [{ page }] = (await server.sql("SELECT get_raw_page('t', 0) AS page")) as [{ page: Buffer }];
      const expected = (await server.sql(`
        SELECT lp, lp_off, lp_flags, lp_len, t_xmin, t_xmax, t_field3, t_ctid::text, t_infomask, t_infomask2, t_hoff, t_bits, t_data,
               f.raw_flags AS names
          FROM heap_page_items(get_raw_page('t', 0)) i
          LEFT JOIN LATERAL heap_tuple_infomask_flags(t_infomask, t_infomask2) f ON t_infomask IS NOT NULL`)) as unknown as Inspected[];
      const items = heapItems(page);
      assert.ok(
        new Set(expected.map((row) => row.lp_flags)).size === 4,
        'unused, normal, redirected and dead items',
      );
      assert.deepEqual(
        items.map(({ offnum, off, flags, len, tuple }) => ({
          lp: offnum,
          lp_off: off,
          lp_flags: flags,
          lp_len: len,
          t_xmin: tuple && String(tuple.xmin),
          t_xmax: tuple && String(tuple.xmax),
          t_field3: tuple && tuple.cid,
          t_ctid: tuple && `(${tuple.ctid.blkno},${tuple.ctid.offnum})`,
          t_infomask: tuple && tuple.infomask,
          t_infomask2: tuple && tuple.infomask2,
          t_hoff: tuple && tuple.hoff,
          t_data: tuple && tuple.data.toString('hex'),
          names: tuple && heapFlagNames(tuple.infomask, tuple.infomask2).sort(),
          t_bits: tuple?.nullBitmap ? bits(tuple.nullBitmap) : null,
        })),
        expected.map((row) => ({
          ...row,
          t_data: row.t_data && row.t_data.toString('hex'),
          names: row.names && row.names.map((name) => name.replace(/^HEAP_/, '')).sort(),
        })),
      );
    } finally {
      await server.destroy();
    }
  });

  it('compare transaction ids on a circle, permanent ones first', () => {
    assert.equal(xidPrecedes(10, 11), true);
    assert.equal(xidPrecedes(11, 10), false);
    assert.equal(xidPrecedes(0xfffffff0, 5), true);
    assert.equal(xidPrecedes(5, 0xfffffff0), false);
    assert.equal(xidPrecedes(2, 0xfffffff0), true);
    assert.equal(xidPrecedes(0xfffffff0, 2), false);
  });
});

/** As heap_page_items prints t_bits: lowest bit first. */
function bits(bitmap: Buffer): string {
  return [...bitmap].map((byte) => byte.toString(2).padStart(8, '0').split('').reverse().join('')).join('');
}
