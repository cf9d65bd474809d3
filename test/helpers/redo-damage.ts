/** Damages records and pages of a differential test of redo: whatever the damage, redo must answer with a coded error or a page. */
import assert from 'node:assert/strict';
import { isDbError } from '../../src/engine/errors.js';
import { formatLsn } from '../../src/engine/lsn.js';
import { applyRecord, assertReplayable } from '../../src/engine/redo/index.js';
import { decodeRecord } from '../../src/engine/wal/decode.js';
import type { WalRecord } from '../../src/engine/wal/types.js';
import type { RedoSample } from './redo-replay.js';

const ROUNDS = 150;

/** Applies each sample many times, its record or its page damaged. */
export function assertDamageIsRefused(samples: readonly RedoSample[]): void {
  const seed = Number(process.env['SEED'] ?? 20250711);
  const random = generator(seed);
  let refused = 0;
  for (const sample of samples)
    for (let i = 0; i < ROUNDS; i++) if (applyDamaged(sample, random, i % 2 === 0)) refused++;
  assert.ok(refused > samples.length, `seed ${seed}: only ${refused} were refused`);
}

/** mulberry32: one seed, one sequence. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const MARGIN = Buffer.alloc(8192, 0xa5);

/** Applies a record after damage to it, or to its page. Returns whether it was refused. */
function applyDamaged(sample: RedoSample, random: () => number, damageRecord: boolean): boolean {
  const room = Buffer.alloc(3 * 8192, 0xa5); // a page in the middle: a stray write would show at its sides
  const page = room.subarray(8192, 2 * 8192);
  sample.page.copy(page);
  const { rec } = sample;
  try {
    let damaged = rec;
    if (damageRecord) damaged = mutateRecord(rec, random);
    else mutate(page, 8 + Math.floor(random() * 4), random);
    assertReplayable(damaged);
    const block = damaged.blocks[sample.blockIndex];
    if (block) applyRecord(page, damaged, block, { walLogHints: false, checksums: false });
    return false;
  } catch (err) {
    const known =
      isDbError(err) && /^(REDO|WAL)_/.test(err.code) && err.message.includes(formatLsn(rec.startLsn));
    if (!known) throw new Error(`${sample.type} block ${sample.blockIndex}: ${String(err)}`, { cause: err });
    return true;
  } finally {
    const untouched = MARGIN.equals(room.subarray(0, 8192)) && MARGIN.equals(room.subarray(2 * 8192));
    assert.ok(untouched, `${sample.type} wrote beside its page`);
  }
}

/** Flips a few bytes of the record after its header, where the CRC would have caught them. */
function mutateRecord(rec: WalRecord, random: () => number): WalRecord {
  const raw = Buffer.from(rec.raw);
  const fromEnd = Math.min(raw.length - 24, 64);
  // Main data lies at the end and block data before it; images in between are long and dull.
  mutate(raw, random() < 0.5 ? 24 : raw.length - fromEnd, random);
  return decodeRecord(raw, rec.startLsn, rec.endLsn, { crc: false });
}

function mutate(bytes: Buffer, from: number, random: () => number): void {
  const span = Math.min(bytes.length - from, random() < 0.7 ? 80 : bytes.length);
  for (let n = 1 + Math.floor(random() * 3); n > 0 && span > 0; n--)
    bytes[from + Math.floor(random() * span)] = Math.floor(random() * 256);
}
