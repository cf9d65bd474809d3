/** The log buffer against one plain Buffer: the same bytes for any pushes, trims and reads; what was trimmed is refused, never wrong. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LogBuffer } from '../../src/compute/log-buffer.js';
import { isDbError } from '../../src/engine/errors.js';
import { lsn } from '../../src/engine/lsn.js';

type Step = { kind: 'push'; size: number } | { kind: 'trim' | 'slice'; from: number; to: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.nat(40).map((size) => ({ kind: 'push' as const, size })) },
  fc
    .record({
      kind: fc.constantFrom('trim' as const, 'slice' as const),
      from: fc.nat(1000),
      to: fc.nat(1000),
    })
    .map((s) => s as Step),
);

describe('LogBuffer', () => {
  it('holds what a plain buffer holds', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.array(step, { maxLength: 120 }), (start, steps) => {
        const buffer = new LogBuffer(lsn(start));
        let model = Buffer.alloc(0); // everything ever pushed, from `start` on
        let trimmed = start; // no read at or above this may fail
        for (const s of steps) {
          const size = model.length + 1;
          if (s.kind === 'push') {
            const bytes = Buffer.from(Array.from({ length: s.size }, (_, i) => (model.length + i) & 0xff));
            buffer.push(bytes);
            model = Buffer.concat([model, bytes]);
          } else if (s.kind === 'trim') {
            const at = start + (s.from % size);
            buffer.trim(lsn(at));
            trimmed = Math.max(trimmed, at);
          } else {
            const [from, to] = [s.from % size, s.to % size].sort((a, b) => a - b) as [number, number];
            if (start + from >= buffer.begin) {
              assert.ok(buffer.slice(lsn(start + from), lsn(start + to)).equals(model.subarray(from, to)));
            } else {
              assert.throws(
                () => buffer.slice(lsn(start + from), lsn(start + to)),
                (err) => isDbError(err, 'BUG_LOG_BUFFER'),
              );
            }
          }
          assert.equal(buffer.end, start + model.length);
          assert.ok(buffer.begin <= trimmed, 'more was trimmed than was asked for');
          assert.equal(buffer.bytes, buffer.end - buffer.begin);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('refuses what lies beyond its end', () => {
    const buffer = new LogBuffer(lsn(100));
    buffer.push(Buffer.from('abc'));
    assert.throws(
      () => buffer.slice(lsn(101), lsn(104)),
      (err) => isDbError(err, 'BUG_LOG_BUFFER'),
    );
    assert.equal(buffer.slice(lsn(101), lsn(103)).toString(), 'bc');
  });

  it('gives a range within one chunk without copying it', () => {
    const buffer = new LogBuffer(lsn(0));
    const bytes = Buffer.from('abcdef');
    buffer.push(bytes);
    assert.equal(buffer.slice(lsn(1), lsn(3)).buffer, bytes.buffer);
  });

  it('lets go of trimmed bytes at once', async () => {
    const buffer = new LogBuffer(lsn(0));
    const freed = { count: 0 };
    const registry = new FinalizationRegistry(() => freed.count++);
    const size = 1024;
    for (let i = 0; i < 200; i++) {
      const bytes = Buffer.from(new ArrayBuffer(size));
      registry.register(bytes, i);
      buffer.push(bytes);
    }
    buffer.trim(lsn(100 * size));
    const { default: v8 } = await import('node:v8');
    const { default: vm } = await import('node:vm');
    v8.setFlagsFromString('--expose-gc');
    const collect = vm.runInNewContext('gc') as () => void;
    for (let i = 0; i < 20 && freed.count < 90; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 5)); // finalizers run on their own turn
    }
    assert.ok(freed.count >= 90 && freed.count <= 100, `${freed.count} of 100 trimmed chunks were freed`);
    assert.equal(buffer.slice(lsn(100 * size), lsn(200 * size)).length, 100 * size);
  });
});
