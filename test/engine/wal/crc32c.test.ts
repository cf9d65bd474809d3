/** CRC-32C against published vectors, and the two engines (tables, native) against each other around the switch-over. */
import assert from 'node:assert/strict';
import { crc32c as native } from '@node-rs/crc32';
import fc from 'fast-check';
import { crc32c, recordCrc } from '../../../src/engine/wal/crc32c.js';

describe('CRC-32C', () => {
  it('matches the vectors of RFC 3720 B.4', () => {
    assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43);
    assert.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), 0x46dd794e);
    assert.equal(crc32c(Buffer.alloc(0)), 0);
  });

  it('is the same by tables and by native code, at any length, and can be continued', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(600), (bytes, cut) => {
        const at = Math.min(cut, bytes.length);
        const whole = native(Buffer.from(bytes)) >>> 0;
        assert.equal(crc32c(bytes), whole);
        assert.equal(crc32c(bytes.subarray(at), crc32c(bytes.subarray(0, at))), whole);
      }),
    );
  });

  it('covers a record from byte 24 on, then its first 20 bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 600 }), (bytes) => {
        const raw = Buffer.from(bytes);
        assert.equal(recordCrc(raw), native(Buffer.concat([raw.subarray(24), raw.subarray(0, 20)])) >>> 0);
      }),
    );
  });
});
