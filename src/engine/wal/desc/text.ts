/** Pieces that the record descriptions share, worded as PostgreSQL's rmgrdesc files word them. */
import { formatLsn } from '../../lsn.js';
import { CATALOG_VERSION_NO, PG_MAJOR } from '../../page/constants.js';
import type { RelFileLocator, WalRecord } from '../types.js';

/** One record type: its name as pg_waldump prints it, and what follows the name. */
export interface RecordDesc {
  readonly name: string;
  readonly text?: (rec: WalRecord) => string;
}

/** Descriptions of one resource manager, keyed by xl_info & opMask. */
export interface RmgrDesc {
  readonly name: string;
  readonly opMask: number;
  readonly ops: Readonly<Record<number, RecordDesc>>;
}

const FORK_NAMES = ['main', 'fsm', 'vm', 'init'];
const DEFAULT_TABLESPACE = 1663;
const GLOBAL_TABLESPACE = 1664;
const UNIX_EPOCH_2000_MS = 946_684_800_000;

export function forkName(fork: number): string {
  return FORK_NAMES[fork] ?? `fork ${fork}`;
}

export function readRel(data: Buffer, at: number): RelFileLocator {
  return {
    spcOid: data.readUInt32LE(at),
    dbOid: data.readUInt32LE(at + 4),
    relNumber: data.readUInt32LE(at + 8),
  };
}

/** `1663/5/1259`. */
export function relText(data: Buffer, at: number): string {
  const rel = readRel(data, at);
  return `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}`;
}

/** A fork's path in the data directory, without segment number (relpath.c GetRelationPath). */
export function relPath(rel: RelFileLocator, fork = 0): string {
  const file = fork === 0 ? String(rel.relNumber) : `${rel.relNumber}_${forkName(fork)}`;
  if (rel.spcOid === GLOBAL_TABLESPACE) return `global/${file}`;
  if (rel.spcOid === DEFAULT_TABLESPACE) return `base/${rel.dbOid}/${file}`;
  return `pg_tblspc/${rel.spcOid}/PG_${PG_MAJOR}_${CATALOG_VERSION_NO}/${rel.dbOid}/${file}`;
}

export function lsnAt(data: Buffer, at: number): string {
  const low = data.readUInt32LE(at);
  return formatLsn(data.readUInt32LE(at + 4) * 0x1_0000_0000 + low);
}

/** `epoch:xid` of a FullTransactionId. */
export function fullXidAt(data: Buffer, at: number): string {
  return `${data.readUInt32LE(at + 4)}:${data.readUInt32LE(at)}`;
}

/** A TimestampTz (microseconds since 2000-01-01 UTC) as SQL prints it in UTC, e.g. `2026-02-03 04:05:06.07+00`. */
export function timestampAt(data: Buffer, at: number): string {
  const micros = Number(data.readBigInt64LE(at));
  const seconds = Math.floor(micros / 1e6);
  const fraction = micros - seconds * 1e6;
  const date = new Date(UNIX_EPOCH_2000_MS + seconds * 1000);
  if (Number.isNaN(date.getTime())) return `timestamp ${micros}`;
  const whole = date.toISOString().slice(0, 19).replace('T', ' ');
  const decimals = fraction === 0 ? '' : `.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
  return `${whole}${decimals}+00`;
}

export function flag(value: number | boolean): 'T' | 'F' {
  return value ? 'T' : 'F';
}

/** `0x0C`. */
export function hex2(value: number): string {
  return `0x${value.toString(16).toUpperCase().padStart(2, '0')}`;
}

/** u32 list, each after a space. */
export function u32List(data: Buffer, at: number, count: number): string {
  let out = '';
  for (let i = 0; i < count; i++) out += ` ${data.readUInt32LE(at + 4 * i)}`;
  return out;
}

/** ` [a, b]`, ` []` when empty: rmgrdesc_utils.c array_desc. */
export function list(count: number, element: (index: number) => string): string {
  const parts: string[] = [];
  for (let i = 0; i < count; i++) parts.push(element(i));
  return ` [${parts.join(', ')}]`;
}

export function offsetList(data: Buffer, at: number, count: number): string {
  return list(count, (i) => String(data.readUInt16LE(at + 2 * i)));
}

/** %g of PostgreSQL's printf: six significant digits, no trailing zeros, exponent of two digits or more. */
export function formatG(value: number): string {
  if (!Number.isFinite(value)) return String(value); // NaN, Infinity, -Infinity: so does PostgreSQL's own printf
  if (value === 0) return Object.is(value, -0) ? '-0' : '0';
  const [mantissa, exponent] = value.toExponential(5).split('e') as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 6) {
    const digits = String(Math.abs(power)).padStart(2, '0');
    return `${trimZeros(mantissa)}e${power < 0 ? '-' : '+'}${digits}`;
  }
  return trimZeros(value.toFixed(5 - power));
}

function trimZeros(decimal: string): string {
  return decimal.includes('.') ? decimal.replace(/\.?0+$/, '') : decimal;
}

/** Shared invalidation messages (sinval.h), 16 bytes each: `; inval msgs: ...`, empty without messages. */
export function invalidations(
  data: Buffer,
  at: number,
  count: number,
  inval: { dbOid: number; tsOid: number; initFile: boolean },
): string {
  if (count <= 0) return '';
  let out = inval.initFile ? `; relcache init file inval dbid ${inval.dbOid} tsid ${inval.tsOid}` : '';
  out += '; inval msgs:';
  for (let i = 0; i < count; i++) out += ` ${invalidation(data, at + 16 * i)}`;
  return out;
}

function invalidation(data: Buffer, at: number): string {
  const id = data.readInt8(at);
  if (id >= 0) return `catcache ${id}`;
  if (id === -1) return `catalog ${data.readUInt32LE(at + 8)}`;
  if (id === -2) return `relcache ${data.readUInt32LE(at + 8)}`;
  if (id === -3) return 'smgr';
  if (id === -4) return `relmap db ${data.readUInt32LE(at + 4)}`;
  if (id === -5) return `snapshot ${data.readUInt32LE(at + 8)}`;
  if (id === -6) return `relsync ${data.readUInt32LE(at + 8)}`;
  return `unrecognized id ${id}`;
}

/** BlockIdData: high word, then low word. */
export function blockIdAt(data: Buffer, at: number): number {
  return data.readUInt16LE(at) * 0x1_0000 + data.readUInt16LE(at + 2);
}

/** NUL-terminated text; to the end of the data when no NUL comes. */
export function cstringAt(data: Buffer, at: number): string {
  const nul = data.indexOf(0, at);
  return data.toString('utf8', at, nul < 0 ? data.length : nul);
}
