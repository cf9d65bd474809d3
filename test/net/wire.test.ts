// Wire structs: what is encoded decodes to the same, and no cut, extended or altered frame is taken for another.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isDbError } from '../../src/engine/errors.js';
import type { Lsn } from '../../src/engine/lsn.js';
import type { DataDirManifest } from '../../src/engine/pages/types.js';
import { decodeManifest, encodeManifest } from '../../src/net/manifest-codec.js';
import * as m from '../../src/net/messages.js';
import { bool, bytes, list, lsn, rest, str, struct, u16, u32, u64, u8 } from '../../src/net/wire.js';

const inner = struct('Inner', { a: u16, name: str });
const all = struct('All', {
  a: u8,
  b: u32,
  c: u64,
  d: lsn,
  e: bool,
  f: str,
  g: bytes,
  h: list(inner),
  tail: rest,
});
const anyBytes = fc.uint8Array({ maxLength: 300 }).map((a) => Buffer.from(a));
const anyAll = fc.record(
  {
    a: fc.nat(255),
    b: fc.nat(0xffff_ffff),
    c: fc.maxSafeNat(),
    d: fc.maxSafeNat() as fc.Arbitrary<Lsn>,
    e: fc.boolean(),
    f: fc.string({ unit: 'binary' }),
    g: anyBytes,
    h: fc.array(fc.record({ a: fc.nat(0xffff), name: fc.string() }, { noNullPrototype: true }), {
      maxLength: 5,
    }),
    tail: anyBytes,
  },
  { noNullPrototype: true },
);

describe('net: wire structs', () => {
  it('decode what they encode', () => {
    fc.assert(fc.property(anyAll, (value) => assert.deepEqual(all.decode(all.encode(value)), value)));
  });

  it('leave the headroom to the caller and fill everything else', () => {
    const body = { epoch: 7, begin: 0x10_0000_0008 as Lsn, commitLsn: 8 as Lsn, bytes: Buffer.from('log') };
    const frame = m.encodeFrame(m.Append, body, 99, 3);
    assert.equal(
      frame.toString('hex'),
      `03${'24'}0000${'03000000'}${'63000000'}0700000000000000${'0800000010000000'}${'0800000000000000'}${'6c6f67'}`,
    );
    const back = m.decodeFrame(frame);
    assert.ok(m.isFrameOf(back, m.Append));
    assert.deepEqual([back.branch, back.requestId, back.body], [3, 99, body]);
  });

  it('refuse every cut of a frame with a code', () => {
    const frame = m.encodeFrame(m.PromiseReply, {
      epoch: 5,
      writerId: 'w',
      granted: true,
      promisedEpoch: 5,
      learner: '',
      scl: 1 as Lsn,
      commitLsn: 1 as Lsn,
      history: [{ epoch: 0, startLsn: 1 as Lsn }],
      life: 0,
      lives: {},
      generation: 0,
      configuration: null,
    });
    for (let length = 0; length < frame.length; length++)
      assert.throws(() => m.decodeFrame(frame.subarray(0, length)), (err) => isDbError(err, 'WIRE_SHORT'), `${length}`); // prettier-ignore
    assert.throws(() => m.decodeFrame(Buffer.concat([frame, Buffer.alloc(1)])), (err) => isDbError(err, 'WIRE_TRAILING')); // prettier-ignore
  });

  it('refuse another protocol version, an unknown code, a number beyond 2^53, a boolean of 2', () => {
    const frame = m.encodeFrame(m.GetControlState, { lsn: 1 as Lsn });
    const altered = (at: number, value: number): Buffer => {
      const copy = Buffer.from(frame);
      copy[at] = value;
      return copy;
    };
    assert.throws(() => m.decodeFrame(altered(0, 1)), (err) => isDbError(err, 'WIRE_VERSION')); // prettier-ignore
    assert.throws(() => m.decodeFrame(altered(1, 255)), (err) => isDbError(err, 'WIRE_UNKNOWN_CODE')); // prettier-ignore
    assert.throws(() => m.decodeFrame(altered(frame.length - 1, 0x80)), (err) => isDbError(err, 'WAL_BAD_LSN')); // prettier-ignore
    const part = m.encodeFrame(m.Part, { last: true, bytes: Buffer.alloc(0) });
    part[m.HEADER_BYTES] = 2;
    assert.throws(() => m.decodeFrame(part), (err) => isDbError(err, 'WIRE_BAD_VALUE')); // prettier-ignore
  });

  it('survive random bytes: a frame or a coded error, never another exception', () => {
    fc.assert(
      fc.property(fc.nat(80), anyBytes, (code, noise) => {
        const frame = Buffer.concat([Buffer.from([m.PROTOCOL_VERSION, code]), Buffer.alloc(10), noise]);
        try {
          m.decodeFrame(frame);
        } catch (err) {
          assert.ok(isDbError(err), String(err));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('carry a manifest whole', () => {
    const manifest: DataDirManifest = {
      lsn: 0x1_6e24_0808 as Lsn,
      relations: [
        { spcOid: 1663, dbOid: 5, relNumber: 1259, fork: 0, nblocks: 14 },
        { spcOid: 1664, dbOid: 0, relNumber: 1262, fork: 2, nblocks: 1 },
      ],
      databases: [{ dbOid: 5, spcOid: 1663 }],
      tablespaces: [16400],
      relmaps: [{ spcOid: 1664, dbOid: 0, data: Buffer.alloc(524, 7) }],
      slrus: [
        { slru: 'xact', ranges: [[0, 3], [9, 9]] }, // prettier-ignore
        { slru: 'commit_ts', ranges: [] },
      ],
      twoPhase: [{ fullXid: 0x1_0000_0003, data: Buffer.from('prepared') }],
      origins: [{ id: 1, remoteLsn: 42 as Lsn }],
      files: [{ name: 'postgresql.conf', content: Buffer.from('port = 5432\n') }],
    };
    const encoded = encodeManifest(manifest);
    assert.deepEqual(decodeManifest(encoded), manifest);
    assert.throws(() => decodeManifest(encoded.subarray(0, encoded.length - 1)), (err) => isDbError(err, 'WIRE_SHORT')); // prettier-ignore
  });
});
