import { lsn } from '../lsn.js';
import type { Lsn } from '../lsn.js';
import { FRAME_OVERHEAD, FrameType } from './format.js';
import type { FrameInfo } from './format.js';
import type { Scanned } from './scan.js';

/** What scanned frames mean for the log: intact frames, and stretches of LSNs whose frames are damaged. */
export type Replayed =
  | {
      readonly kind: 'frame';
      readonly info: FrameInfo;
      readonly at: number;
      readonly frameBytes: number;
      readonly payload: Buffer;
    }
  | {
      readonly kind: 'damage';
      readonly begin: Lsn;
      /** Equal to begin when it is unknown how far the lost frames went. */
      readonly end: Lsn;
      readonly at: number;
      readonly reason: string;
      /** CRC of exactly [begin, end), when known. */
      readonly payloadCrc: number | null;
      /** Present when the damaged DATA frame is still known as one. */
      readonly frameBytes: number | null;
    }
  | { readonly kind: 'end'; readonly at: number; readonly torn: boolean };

/**
 * Gives damaged frames their LSNs. `expected` is where the log stands before the first frame, `endLsn` where it stands after the last one, if
 * that is known from elsewhere (null otherwise). A damaged HISTORY frame costs nothing (it has a twin), a damaged HEAL frame leaves
 * unhealed what it healed.
 */
export function* replayFrames(
  scanned: Iterable<Scanned>,
  expected: Lsn,
  endLsn: Lsn | null,
): Generator<Replayed, void> {
  let lost: { at: number; reason: string } | null = null;
  let stand = expected;
  const closeLost = (end: Lsn): Replayed | null => {
    if (!lost || end < stand) return null;
    const known = end > stand;
    const damage = { kind: 'damage', begin: stand, end, at: lost.at, reason: lost.reason } as const;
    lost = null;
    return known ? { ...damage, payloadCrc: null, frameBytes: null } : null;
  };
  for (const item of scanned) {
    if (item.kind === 'end') {
      const end = endLsn ?? stand;
      if (lost && (endLsn === null || end > stand))
        yield {
          kind: 'damage',
          begin: stand,
          end,
          at: lost.at,
          reason: lost.reason,
          payloadCrc: null,
          frameBytes: null,
        };
      yield item;
      return;
    }
    if (item.kind === 'bad' && !item.info) {
      lost ??= { at: item.at, reason: item.reason };
      continue;
    }
    const info = item.info!;
    if (info.type !== FrameType.heal) {
      const damage = closeLost(info.begin);
      if (damage) yield damage;
      lost = null;
    }
    const end = lsn(info.begin + info.length);
    const frameBytes = FRAME_OVERHEAD + info.length;
    if (info.type === FrameType.data) stand = end;
    else if (info.type === FrameType.history) stand = info.begin;
    if (item.kind === 'frame') yield { kind: 'frame', info, at: item.at, frameBytes, payload: item.payload };
    else if (info.type === FrameType.data)
      yield {
        kind: 'damage',
        begin: info.begin,
        end,
        at: item.at,
        reason: item.reason,
        payloadCrc: info.payloadCrc,
        frameBytes,
      };
  }
}
