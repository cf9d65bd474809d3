/** Lies in a log: an image of PostgreSQL's, altered by one byte, in a record whose checksum is right. */
import type { Lsn } from '../../src/engine/lsn.js';
import { itemOffset } from '../../src/engine/page/itemid.js';
import { recordCrc } from '../../src/engine/wal/crc32c.js';
import { decodeRecord } from '../../src/engine/wal/decode.js';
import { restoreImage } from '../../src/engine/wal/image.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import { Rmgr, type WalRecord } from '../../src/engine/wal/types.js';

const WAL_PAGE = 8192;

/** Where the row that a record inserts lies on the page in its image. */
export function insertedRowAt(rec: WalRecord): number {
  return itemOffset(restoreImage(rec.blocks[0]!, rec.startLsn), rec.mainData.readUInt16LE(0));
}

/** The first byte of the inserted row's t_xmin is inverted. */
function alterRaw(rec: WalRecord): Buffer {
  const { image, holeLength } = rec.blocks[0]!;
  const raw = Buffer.from(rec.raw);
  const at = image!.byteOffset - rec.raw.byteOffset + insertedRowAt(rec) - holeLength;
  raw[at] = raw[at]! ^ 0xff;
  raw.writeUInt32LE(recordCrc(raw), 20);
  return raw;
}

export function withAlteredImage(rec: WalRecord): WalRecord {
  return decodeRecord(alterRaw(rec), rec.startLsn, rec.endLsn);
}

/** Whether it is an insertion of one row with an image to compare with. */
export function isCheckedInsert(rec: WalRecord): boolean {
  const block = rec.blocks[0];
  return rec.rmid === Rmgr.Heap && (rec.info & 0x70) === 0 && block?.hasImage === true && !block.applyImage;
}

/** Alters one such record in `wal`, which begins at `start`, in place: the first that lies on one WAL page at or after `from`. */
export function alterLog(
  wal: Buffer,
  start: Lsn,
  from: Lsn,
  segmentSize = 16 * 1024 * 1024,
): { altered: WalRecord; before: Lsn } {
  const decoder = new WalStreamDecoder({ startLsn: start, segmentSize });
  decoder.push(Buffer.from(wal));
  let before = start;
  for (let rec = decoder.next(); rec !== null; before = rec.endLsn, rec = decoder.next()) {
    if (rec.startLsn < from || !isCheckedInsert(rec)) continue;
    if (Math.floor(rec.startLsn / WAL_PAGE) !== Math.floor((rec.startLsn + rec.raw.length) / WAL_PAGE))
      continue;
    alterRaw(rec).copy(wal, rec.startLsn - start);
    return { altered: rec, before };
  }
  throw new Error('no record to alter');
}
