/**
 * What a WAL record changes beyond its block references: SLRU pages, relation files, databases, relation maps, prepared
 * transactions, replication origins, files of the volume. effectsOf() (index.ts) derives the list from the record alone and the
 * control state before it, so that every node that ingests the same log comes to the same list.
 */
import type { ControlState } from '../../control/state.js';
import type { Lsn } from '../../lsn.js';
import type { RelFileLocator, WalRecord } from '../../wal/types.js';

export type SlruName = 'xact' | 'multixact_offsets' | 'multixact_members' | 'commit_ts';

/**
 * Effects take place at the record's end LSN, in list order. The order matters only for two deltas of one SLRU page: zero, then set.
 */
export type Effect =
  /** Clears `bits` (1 all-visible, 2 all-frozen) of one heap block in the visibility map; the map page's LSN stays. */
  | {
      readonly kind: 'vmClear';
      readonly rel: RelFileLocator;
      readonly heapBlk: number;
      readonly bits: number;
    }
  /** Applied by applySlruDelta(page, delta). A page that does not exist starts as zeros, as in PostgreSQL's recovery. */
  | { readonly kind: 'slru'; readonly slru: SlruName; readonly pageno: number; readonly delta: Buffer }
  /** Whole segments (32 pages) that precede `cutoffPage` vanish: see slruSegmentPrecedes(), which knows about wrap-around. */
  | { readonly kind: 'slruTruncate'; readonly slru: SlruName; readonly cutoffPage: number }
  /** Pages [firstPage, endPage) vanish, plainly: multixact member segments, and all of commit_ts when tracking ends. */
  | {
      readonly kind: 'slruDrop';
      readonly slru: SlruName;
      readonly firstPage: number;
      readonly endPage: number;
    }
  | { readonly kind: 'relCreate'; readonly rel: RelFileLocator; readonly fork: number }
  /** Blocks at and beyond `nblocks` vanish (a fork that is smaller or does not exist stays as it is). */
  | {
      readonly kind: 'relTruncate';
      readonly rel: RelFileLocator;
      readonly fork: number;
      readonly nblocks: number;
    }
  /**
   * The heap was cut to `nHeapBlocks`: in the map page that holds the boundary, the bits of all heap blocks at and beyond it
   * are cleared without touching its LSN; the map pages after it go by a relTruncate of the vm fork in the same list. FSM
   * needs no such care: its fork is cut one page earlier, which only loses hints.
   */
  | { readonly kind: 'vmTruncate'; readonly rel: RelFileLocator; readonly nHeapBlocks: number }
  /** All forks. */
  | { readonly kind: 'relDrop'; readonly rel: RelFileLocator }
  /**
   * What the target held is gone. With `copyFrom`: a copy of every relation, fork and the relation map of the source as of this record; the
   * target is a database's own directory (with PG_VERSION) only if the source is, else it only holds its relations in a tablespace.
   */
  | {
      readonly kind: 'dbCreate';
      readonly dbOid: number;
      readonly spcOid: number;
      readonly copyFrom?: { readonly dbOid: number; readonly spcOid: number };
    }
  | { readonly kind: 'dbDrop'; readonly dbOid: number; readonly spcOids: readonly number[] }
  /** `data`: the 524 bytes of pg_filenode.map with a fresh CRC. dbOid 0 = the shared map in global/. */
  | { readonly kind: 'relmap'; readonly spcOid: number; readonly dbOid: number; readonly data: Buffer }
  | { readonly kind: 'tablespaceCreate'; readonly oid: number }
  | { readonly kind: 'tablespaceDrop'; readonly oid: number }
  /** `data`: the PREPARE record's main data, i.e. the state file without its CRC (see control/twophase.ts). */
  | { readonly kind: 'twoPhasePut'; readonly fullXid: number; readonly data: Buffer }
  | { readonly kind: 'twoPhaseDrop'; readonly xid: number }
  /** Progress of a replication origin: the larger of old and new counts, unless `force`. */
  | { readonly kind: 'origin'; readonly id: number; readonly remoteLsn: Lsn; readonly force: boolean }
  | { readonly kind: 'originDrop'; readonly id: number }
  | { readonly kind: 'file'; readonly name: string; readonly content: Buffer };

export interface EffectContext {
  /** Control state before the record (call effectsOf() first, advance() after it). */
  readonly control: Readonly<ControlState>;
  /** The volume's secret, which authenticates `aurora.file` messages; null accepts none of them. */
  readonly secret: Buffer | null;
  /** Told about an `aurora.file` message that is not ours (any SQL user may write one); for a counter. */
  readonly onRejectedFile?: (rec: WalRecord, reason: string) => void;
}

/** What almost every record returns. */
export const NO_EFFECTS: readonly Effect[] = Object.freeze([]);
