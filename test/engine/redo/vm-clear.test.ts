/** What this proves: visibility-map arithmetic at its edges, and which heap records clear which bits of which block. */
import assert from 'node:assert/strict';
import { lsn, readPageLsn, writePageLsn } from '../../../src/engine/lsn.js';
import { pageInit } from '../../../src/engine/page/header.js';
import { vmBitsOf, vmBlockOf, vmByteOf, vmClearFrom, vmShiftOf } from '../../../src/engine/page/vm.js';
import { applyVmClear, assertReplayable, implicitVmClears } from '../../../src/engine/redo/index.js';
import { Rmgr } from '../../../src/engine/wal/types.js';
import { record, REL, u16s, u32s, type RecordSpec } from '../../helpers/redo-records.js';

function fullMap(): Buffer {
  const map = Buffer.alloc(8192);
  pageInit(map, 0);
  writePageLsn(map, lsn(0x1234));
  return map.fill(0xff, 24);
}

describe('visibility map', () => {
  it('places blocks as PostgreSQL does', () => {
    // 8168 bytes of map, four blocks a byte: 32672 blocks a page.
    const places = [0, 3, 4, 32671, 32672, 32673, 0xfffffffe].map((b) => [
      vmBlockOf(b),
      vmByteOf(b),
      vmShiftOf(b),
    ]);
    assert.deepEqual(places, [
      [0, 24, 0],
      [0, 24, 6],
      [0, 25, 0],
      [0, 8191, 6],
      [1, 24, 0],
      [1, 24, 2],
      [131457, 24 + Math.floor((0xfffffffe % 32672) / 4), 4],
    ]);
  });

  it('clears the asked bits of one block and keeps the LSN', () => {
    const map = fullMap();
    applyVmClear(map, 32672 + 5, 2);
    assert.deepEqual(
      [4, 5, 6].map((b) => vmBitsOf(map, 32672 + b)),
      [3, 1, 3],
    );
    applyVmClear(map, 32672 + 5, 3);
    assert.equal(vmBitsOf(map, 5), 0);
    assert.equal(map.subarray(24).filter((byte) => byte !== 0xff).length, 1);
    assert.equal(readPageLsn(map), 0x1234);
    const zeros = Buffer.alloc(8192);
    applyVmClear(zeros, 77, 3);
    assert.ok(zeros.equals(Buffer.alloc(8192)));
  });

  it('clears everything from a block on', () => {
    for (const first of [0, 1, 4, 7, 32671]) {
      const map = fullMap();
      vmClearFrom(map, first);
      for (const b of [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 32668, 32670, 32671])
        assert.equal(vmBitsOf(map, b), b < first ? 3 : 0, `block ${b} of ${first}`);
      assert.equal(readPageLsn(map), 0x1234);
    }
  });
});

describe('redo: implicit clearing of visibility bits', () => {
  const data = Buffer.from([...u16s(1, 0x0800), 24, 0]);
  const update = (flags: number, blocks: RecordSpec['blocks']): RecordSpec => ({
    rmid: Rmgr.Heap,
    info: 0x20,
    main: [...u32s(7), ...u16s(1), 0, flags, ...u32s(0), ...u16s(2)],
    blocks,
  });
  const cases: [string, RecordSpec, [number, number][]][] = [
    ['INSERT', { rmid: Rmgr.Heap, info: 0, main: [...u16s(1), 1], blocks: [{ blkno: 40, data }] }, [[40, 3]]],
    [
      'INSERT without the flag',
      { rmid: Rmgr.Heap, info: 0, main: [...u16s(1), 8], blocks: [{ blkno: 40, data }] },
      [],
    ],
    [
      'INSERT+INIT',
      { rmid: Rmgr.Heap, info: 0x80, main: [...u16s(1), 1], blocks: [{ blkno: 40, data, willInit: true }] },
      [[40, 3]],
    ],
    [
      'DELETE',
      { rmid: Rmgr.Heap, info: 0x10, main: [...u32s(7), ...u16s(1), 0, 1], blocks: [{ blkno: 41 }] },
      [[41, 3]],
    ],
    ['UPDATE of an old page', update(1, [{ blkno: 50, data }, { blkno: 51 }]), [[51, 3]]],
    ['UPDATE of a new page', update(2, [{ blkno: 50, data }, { blkno: 51 }]), [[50, 3]]],
    [
      'UPDATE of both',
      update(3, [{ blkno: 50, data }, { blkno: 51 }]),
      [
        [51, 3],
        [50, 3],
      ],
    ],
    ['UPDATE within a page', update(1, [{ blkno: 50, data }]), [[50, 3]]],
    ['HOT_UPDATE', { ...update(1, [{ blkno: 50, data }]), info: 0x40 }, [[50, 3]]],
    [
      'LOCK',
      { rmid: Rmgr.Heap, info: 0x60, main: [...u32s(7), ...u16s(1), 0, 1], blocks: [{ blkno: 42 }] },
      [[42, 2]],
    ],
    [
      'LOCK_UPDATED',
      { rmid: Rmgr.Heap2, info: 0x60, main: [...u32s(7), ...u16s(1), 0, 1], blocks: [{ blkno: 43 }] },
      [[43, 2]],
    ],
    [
      'MULTI_INSERT',
      { rmid: Rmgr.Heap2, info: 0x50, main: [1, 0, ...u16s(0)], blocks: [{ blkno: 44, data }] },
      [[44, 3]],
    ],
    ['HEAP_CONFIRM', { rmid: Rmgr.Heap, info: 0x50, main: u16s(1), blocks: [{ blkno: 45 }] }, []],
    ['PRUNE_ON_ACCESS', { rmid: Rmgr.Heap2, info: 0x10, main: [1, 0x04], blocks: [{ blkno: 45 }] }, []],
    ['a btree insert', { rmid: Rmgr.Btree, info: 0, main: u16s(1), blocks: [{ blkno: 45, data }] }, []],
  ];
  for (const [what, spec, expected] of cases) {
    it(what, () => {
      const rec = record(spec);
      assertReplayable(rec);
      const clears = implicitVmClears(rec);
      assert.deepEqual(
        clears.map((c) => [c.heapBlk, c.bits]),
        expected,
      );
      for (const clear of clears) assert.deepEqual(clear.rel, REL);
    });
  }
});
