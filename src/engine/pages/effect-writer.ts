/** Effects (see effects/types.ts) into the batch. */
import { readLsn, writeLsn, type Lsn } from '../lsn.js';
import { FactClass, nameId, numberId } from './facts.js';
import { copyDatabase, dropDatabase } from './database.js';
import type { Effect } from './effects/types.js';
import type { StoreParts } from './parts.js';
import type { RocksBatch } from './rocks.js';
import type { BranchId, DatabaseEntry } from './types.js';
import type { PageWriter } from './writer.js';

const NOTHING = Buffer.alloc(0);
const NEWEST = Number.MAX_SAFE_INTEGER as Lsn;

export class EffectWriter {
  /** Progress of origins that the current batch moved: their facts are not in the store yet. */
  private readonly origins = new Map<number, Lsn>();

  /** `write` makes all that was put so far readable; the batch is empty then. */
  constructor(
    private readonly parts: StoreParts,
    private readonly batch: RocksBatch,
    private readonly pages: PageWriter,
    private readonly branch: BranchId,
    private readonly write: () => void,
  ) {}

  put(effects: readonly Effect[], at: Lsn): void {
    for (const effect of effects) this.putOne(effect, at);
  }

  forget(): void {
    this.origins.clear();
  }

  private putOne(effect: Effect, at: Lsn): void {
    switch (effect.kind) {
      case 'vmClear':
        return this.pages.vmClear(effect.rel, effect.heapBlk, effect.bits);
      case 'slru':
        return this.pages.slru.delta(effect.slru, effect.pageno, effect.delta);
      case 'slruTruncate':
        return this.pages.slru.truncate(effect.slru, effect.cutoffPage, at);
      case 'slruDrop':
        return this.pages.slru.dropRange(effect.slru, effect.firstPage, effect.endPage, at);
      case 'relCreate':
        return this.pages.relCreate(effect.rel, effect.fork, at);
      case 'relTruncate':
        return this.pages.relTruncate(effect.rel, effect.fork, effect.nblocks, at);
      case 'vmTruncate':
        return this.pages.vmTruncate(effect.rel, effect.nHeapBlocks, at);
      case 'relDrop':
        return this.pages.relDrop(effect.rel, at);
      case 'dbCreate':
        return this.dbCreate(effect, at);
      case 'dbDrop':
        return this.dbDrop(effect.dbOid, effect.spcOids, at);
      case 'relmap':
        return this.fact(FactClass.relmap, numberId(effect.spcOid, effect.dbOid), at, effect.data);
      case 'tablespaceCreate':
        return this.fact(FactClass.tablespace, numberId(effect.oid), at, NOTHING);
      case 'tablespaceDrop':
        return this.fact(FactClass.tablespace, numberId(effect.oid), at, null);
      case 'twoPhasePut':
        return this.fact(
          FactClass.twoPhase,
          twoPhaseId(effect.fullXid),
          at,
          twoPhaseValue(effect.fullXid, effect.data),
        );
      case 'twoPhaseDrop':
        return this.fact(FactClass.twoPhase, twoPhaseId(effect.xid), at, null);
      case 'origin':
        return this.origin(effect.id, effect.remoteLsn, effect.force, at);
      case 'originDrop':
        this.origins.set(effect.id, 0 as Lsn);
        return this.fact(FactClass.origin, numberId(effect.id), at, null);
      case 'file':
        return this.fact(FactClass.file, nameId(effect.name), at, effect.content);
      default:
        return unknownEffect(effect);
    }
  }

  private fact(factClass: number, id: Buffer, at: Lsn, data: Buffer | null): void {
    this.parts.facts.put(this.batch, this.branch, factClass, id, at, data);
  }

  private origin(id: number, remoteLsn: Lsn, force: boolean, at: Lsn): void {
    if (!force && remoteLsn <= this.originProgress(id)) return;
    this.origins.set(id, remoteLsn);
    this.fact(FactClass.origin, numberId(id), at, lsnValue(remoteLsn));
  }

  private originProgress(id: number): Lsn {
    let progress = this.origins.get(id);
    if (progress === undefined) {
      const known = this.parts.facts.get(this.branch, FactClass.origin, numberId(id), NEWEST);
      this.origins.set(id, (progress = known ? readLsn(known.data, 0) : (0 as Lsn)));
    }
    return progress;
  }

  private dbCreate(effect: Extract<Effect, { kind: 'dbCreate' }>, at: Lsn): void {
    const target = { dbOid: effect.dbOid, spcOid: effect.spcOid };
    this.write();
    dropDatabase(this.parts, this.batch, this.pages, this.branch, target, at);
    const from = effect.copyFrom;
    if (from) copyDatabase(this.parts, this.batch, this.pages, this.branch, from, target, at);
    if (!from || this.isDatabase(from, at))
      this.fact(FactClass.database, numberId(target.dbOid, target.spcOid), at, NOTHING);
  }

  /** Whether the directory is a database's own one: others only hold its relations in a tablespace. */
  private isDatabase({ dbOid, spcOid }: DatabaseEntry, at: Lsn): boolean {
    return this.parts.facts.get(this.branch, FactClass.database, numberId(dbOid, spcOid), at) !== null;
  }

  private dbDrop(dbOid: number, spcOids: readonly number[], at: Lsn): void {
    this.write();
    for (const spcOid of spcOids)
      dropDatabase(this.parts, this.batch, this.pages, this.branch, { dbOid, spcOid }, at);
  }
}

function unknownEffect(effect: never): never {
  throw new Error(`unknown effect ${JSON.stringify(effect)}`);
}

/** Prepared transactions are found by their 32-bit xid, which is all that their end names; there is one at a time. */
export function twoPhaseId(fullXid: number): Buffer {
  return numberId(fullXid % 0x1_0000_0000);
}

export function twoPhaseValue(fullXid: number, data: Buffer): Buffer {
  return Buffer.concat([lsnValue(fullXid), data]);
}

/** A u64, little-endian. */
export function lsnValue(value: number): Buffer {
  const out = Buffer.allocUnsafe(8);
  writeLsn(out, value, 0);
  return out;
}
