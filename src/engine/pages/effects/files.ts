/**
 * Files of the volume: settings and statistics that PostgreSQL does not log travel as LogicalMessage records with the prefix `aurora.file`. Any
 * SQL user may write such a record with pg_logical_emit_message(), so the payload carries a code made with the volume's secret:
 *   one line of JSON { "name", "mac" }, "\n", content; mac = hex HMAC-SHA256(secret, name + "\0" + content)
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { unknownRecord, RecordReader } from '../../control/record-reader.js';
import type { WalRecord } from '../../wal/types.js';
import { NO_EFFECTS, type Effect, type EffectContext } from './types.js';

export const FILE_MESSAGE_PREFIX = 'aurora.file';
const PREFIX_BYTES = Buffer.from(`${FILE_MESSAGE_PREFIX}\0`);
const MESSAGE = 0x00;
const NEWLINE = 0x0a;

/** The payload of an `aurora.file` message. `name` is relative to the data directory. */
export function encodeFileMessage(secret: Buffer, name: string, content: Buffer): Buffer {
  const header = JSON.stringify({ name, mac: fileMac(secret, name, content).toString('hex') });
  return Buffer.concat([Buffer.from(`${header}\n`), content]);
}

export function logicalMessageEffects(rec: WalRecord, ctx: EffectContext): readonly Effect[] {
  if ((rec.info & 0xf0) !== MESSAGE) throw unknownRecord(rec, 'LogicalMessage');
  const r = new RecordReader(rec, 'MESSAGE');
  r.skip(8); // database, transactional
  const prefixSize = r.u64();
  const messageSize = r.u64();
  const prefix = r.bytes(prefixSize);
  const payload = r.bytes(messageSize);
  r.end();
  if (!prefix.equals(PREFIX_BYTES)) return NO_EFFECTS;
  const file = openFileMessage(payload, ctx.secret);
  if (typeof file !== 'string') return [{ kind: 'file', ...file }];
  ctx.onRejectedFile?.(rec, file);
  return NO_EFFECTS;
}

/** The file in a payload, or why there is none. */
function openFileMessage(payload: Buffer, secret: Buffer | null): { name: string; content: Buffer } | string {
  if (secret === null) return 'the secret of the volume is not known here';
  const headerEnd = payload.indexOf(NEWLINE);
  if (headerEnd < 0) return 'no header';
  const header = parseHeader(payload.toString('utf8', 0, headerEnd));
  if (header === null) return 'bad header';
  const content = Buffer.from(payload.subarray(headerEnd + 1));
  const expected = fileMac(secret, header.name, content);
  const given = Buffer.from(header.mac, 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected))
    return 'wrong authentication code';
  if (!isPlainPath(header.name))
    return `not a path inside the data directory: ${JSON.stringify(header.name)}`;
  return { name: header.name, content };
}

function parseHeader(text: string): { name: string; mac: string } | null {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof parsed !== 'object' || parsed === null) return null;
  const { name, mac } = parsed as Record<string, unknown>;
  return typeof name === 'string' && typeof mac === 'string' ? { name, mac } : null;
}

function isPlainPath(name: string): boolean {
  return name !== '' && name.split('/').every((part) => /^[\w.-]+$/.test(part) && !/^\.+$/.test(part));
}

function fileMac(secret: Buffer, name: string, content: Buffer): Buffer {
  return createHmac('sha256', secret).update(`${name}\0`).update(content).digest();
}
