/** A record on one line, as pg_waldump prints it, but for our own settings files: their bytes would be screenfuls of hex. */
import { formatRecord } from '../engine/wal/describe.js';
import { Rmgr, type WalRecord } from '../engine/wal/types.js';

const FILE_PAYLOAD = /(prefix "aurora\.file"); payload \(\d+ bytes\): ([0-9A-F ]+)$/;

/** Throws as formatRecord. */
export function recordLine(rec: WalRecord): string {
  const line = formatRecord(rec);
  return rec.rmid === Rmgr.LogicalMessage ? shortenFile(line) : line;
}

/** `text` ends with a logical message's description. */
export function shortenFile(text: string): string {
  return text.replace(FILE_PAYLOAD, (whole, prefix: string, hex: string) => {
    const content = Buffer.from(hex.replaceAll(' ', ''), 'hex');
    const headerEnd = content.indexOf(0x0a);
    const name = /^\{"name":("[^"\\]+")/.exec(content.toString('latin1', 0, Math.max(0, headerEnd)))?.[1];
    // Anyone may write a message with this prefix: what does not look like ours is shown as it is.
    return name === undefined ? whole : `${prefix}; file ${name} (${content.length - headerEnd - 1} bytes)`;
  });
}
