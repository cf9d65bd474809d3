/**
 * Arithmetic of transaction and multixact ids (access/transam/transam.c, varsup.c, multixact.c). Ids in WAL are 32-bit and wrap around; a
 * full transaction id is epoch * 2^32 + xid, kept as a number (exact below 2^53).
 */
export const FIRST_NORMAL_XID = 3;
export const FIRST_MULTI_XID = 1;
const TWO_32 = 0x1_0000_0000;

/** TransactionIdPrecedes: modulo 2^32 among normal ids; the permanent ones (0, 1, 2) precede all others. */
export function xidPrecedes(a: number, b: number): boolean {
  if (a < FIRST_NORMAL_XID || b < FIRST_NORMAL_XID) return a < b;
  return ((a - b) | 0) < 0;
}

/** MultiXactIdPrecedes, and the same for member offsets: plain modulo 2^32. */
export function multiPrecedes(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** The 32-bit id of a full transaction id. */
export function xidOf(fullXid: number): number {
  return fullXid % TWO_32;
}

export function epochOf(fullXid: number): number {
  return Math.floor(fullXid / TWO_32);
}

/** nextXid after an `xid` was seen in the log (AdvanceNextFullTransactionIdPastXid): past it, skipping 0, 1, 2 at the wrap. */
export function nextXidPast(nextFullXid: number, xid: number): number {
  const next = nextFullXid % TWO_32;
  if (xidPrecedes(xid, next)) return nextFullXid;
  const epoch = (nextFullXid - next) / TWO_32;
  const following = xid >= 0xffff_ffff ? FIRST_NORMAL_XID : Math.max(xid + 1, FIRST_NORMAL_XID);
  return (following < next ? epoch + 1 : epoch) * TWO_32 + following;
}

/** The full id of a 32-bit `xid` in use around `nextFullXid`: the nearest one in modulo order. */
export function fullXidNear(nextFullXid: number, xid: number): number {
  if (xid < FIRST_NORMAL_XID) return xid;
  return nextFullXid + ((xid - (nextFullXid % TWO_32)) | 0);
}

/** The multixact id that follows `multi`, as stored in pg_multixact/offsets: 0 is skipped. */
export function nextMultiXid(multi: number): number {
  const next = (multi + 1) >>> 0;
  return next < FIRST_MULTI_XID ? FIRST_MULTI_XID : next;
}
