/** Filling an empty store: everything is a version at one LSN, and the marker, written last, makes it readable. */
import type { ControlState } from '../control/state.js';
import { DbError } from '../errors.js';
import { formatLsn, type Lsn } from '../lsn.js';
import { BLCKSZ } from '../page/constants.js';
import type { RelFileLocator } from '../wal/types.js';
import { BatchBytes } from './batch-bytes.js';
import { CoalesceQueue } from './coalesce.js';
import { lsnValue, twoPhaseId, twoPhaseValue } from './effect-writer.js';
import type { SlruName } from './effects/types.js';
import { EMPTY_ID, FactClass, nameId, numberId } from './facts.js';
import type { RocksBatch } from './rocks.js';
import type { PageStore } from './store.js';
import type { BaseImport, BranchId, PageKey } from './types.js';
import { PageWriter } from './writer.js';

const NOTHING = Buffer.alloc(0);
const PAGES_PER_WRITE = 512;

export class BaseImporter implements BaseImport {
  private readonly batch: RocksBatch;
  private readonly pages: PageWriter;
  private put = 0;
  private finished = false;

  constructor(
    private readonly store: PageStore,
    private readonly branch: BranchId,
    private readonly at: Lsn,
  ) {
    this.batch = store.parts.db.batch();
    this.pages = new PageWriter(
      store.parts,
      this.batch,
      new CoalesceQueue({ kind: 'lazy' }, store.parts.redo),
      branch,
      new BatchBytes(),
    );
  }

  relation(rel: RelFileLocator, fork: number, nblocks: number): void {
    this.pages.sized(rel, fork, nblocks, this.at);
    this.paced();
  }

  page(key: PageKey, image: Buffer): void {
    if (image.length !== BLCKSZ) throw new RangeError(`a page has ${BLCKSZ} bytes, not ${image.length}`);
    this.pages.page(key, key.fork, key.blkno, image, this.at);
    this.paced();
  }

  slruPage(slru: SlruName, pageno: number, image: Buffer): void {
    if (image.length !== BLCKSZ) throw new RangeError(`a page has ${BLCKSZ} bytes, not ${image.length}`);
    this.pages.slru.image(slru, pageno, image, this.at);
    this.paced();
  }

  database(dbOid: number, spcOid: number): void {
    this.fact(FactClass.database, numberId(dbOid, spcOid), NOTHING);
  }

  tablespace(oid: number): void {
    this.fact(FactClass.tablespace, numberId(oid), NOTHING);
  }

  relmap(spcOid: number, dbOid: number, data: Buffer): void {
    this.fact(FactClass.relmap, numberId(spcOid, dbOid), data);
  }

  twoPhase(fullXid: number, data: Buffer): void {
    this.fact(FactClass.twoPhase, twoPhaseId(fullXid), twoPhaseValue(fullXid, data));
  }

  origin(id: number, remoteLsn: Lsn): void {
    this.fact(FactClass.origin, numberId(id), lsnValue(remoteLsn));
  }

  file(name: string, content: Buffer): void {
    this.fact(FactClass.file, nameId(name), content);
  }

  finish(control: ControlState, lastRecordLsn: Lsn): void {
    if (control.lastRecordEnd !== this.at) {
      throw new DbError(
        'PAGE_BAD_IMPORT',
        `the control state is as of ${formatLsn(control.lastRecordEnd)}, the pages are as of ${formatLsn(this.at)}`,
      );
    }
    this.fact(FactClass.control, EMPTY_ID, Buffer.from(JSON.stringify(control)));
    this.pages.endRecord(this.at);
    this.pages.flush();
    this.finished = true;
    this.store.commit(this.batch, { appliedLsn: this.at, lastRecordLsn });
    this.store.sync();
  }

  private fact(factClass: number, id: Buffer, data: Buffer): void {
    if (this.finished) throw new Error('the import is finished');
    this.store.parts.facts.put(this.batch, this.branch, factClass, id, this.at, data);
  }

  private paced(): void {
    if (this.finished) throw new Error('the import is finished');
    if (++this.put % PAGES_PER_WRITE !== 0) return;
    this.pages.endRecord(this.at);
    this.pages.flush();
    this.batch.write(false);
  }
}
