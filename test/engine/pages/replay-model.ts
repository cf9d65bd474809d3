/**
 * The oracle of the page store's tests: the whole volume in memory, changed in place by redo record by record. No versions, no keys, no cache:
 * what a page was at an LSN is known from digests taken when replay had got there.
 */
import { createHash } from 'node:crypto';
import { advance } from '../../../src/engine/control/advance.js';
import type { ControlState } from '../../../src/engine/control/state.js';
import type { Lsn } from '../../../src/engine/lsn.js';
import { BLCKSZ } from '../../../src/engine/page/constants.js';
import { vmBlockOf, vmClearFrom } from '../../../src/engine/page/vm.js';
import { effectsOf, type Effect, type SlruName } from '../../../src/engine/pages/effects/index.js';
import { applySlruDelta } from '../../../src/engine/pages/effects/slru.js';
import type { BaseImport, PageKey, RelationFork } from '../../../src/engine/pages/types.js';
import { applyRecord, applyVmClear, changesBlock } from '../../../src/engine/redo/index.js';
import { ForkNumber, type RelFileLocator, type WalRecord } from '../../../src/engine/wal/types.js';

interface ModelFork extends RelFileLocator {
  readonly fork: number;
  readonly pages: Buffer[];
}

/** What the volume was at one LSN: digests of all pages. */
export interface Sample {
  readonly lsn: Lsn;
  readonly forks: readonly (RelationFork & { readonly digests: readonly string[] })[];
  readonly slru: ReadonlyMap<string, string>;
  readonly control: ControlState;
}

export function digest(page: Buffer): string {
  return createHash('sha1').update(page).digest('base64');
}

const ZERO_DIGEST = digest(Buffer.alloc(BLCKSZ));

export class ReplayModel implements BaseImport {
  readonly forks = new Map<string, ModelFork>();
  readonly slru = new Map<string, Buffer>();
  control!: ControlState;
  /** Pages that were not copied from the data directory: those are the same at all LSNs. */
  private readonly digests = new WeakMap<Buffer, string>();

  relation(rel: RelFileLocator, fork: number, nblocks: number): void {
    this.grow(this.create(rel, fork), nblocks);
  }

  page(key: PageKey, image: Buffer): void {
    image.copy(this.block(key, key.fork, key.blkno));
  }

  slruPage(slru: SlruName, pageno: number, image: Buffer): void {
    this.slru.set(`${slru} ${pageno}`, Buffer.from(image));
  }

  finish(control: ControlState): void {
    this.control = structuredClone(control);
  }

  database(): void {}
  tablespace(): void {}
  relmap(): void {}
  twoPhase(): void {}
  origin(): void {}
  file(): void {}

  apply(rec: WalRecord): void {
    const effects = effectsOf(rec, { control: this.control, secret: null });
    for (const block of rec.blocks) {
      if (!changesBlock(rec, block)) continue;
      const page = this.block(block, block.fork, block.blkno);
      applyRecord(page, rec, block, { walLogHints: false, checksums: false });
      this.digests.delete(page);
    }
    for (const effect of effects) this.effect(effect);
    advance(this.control, rec);
  }

  sample(lsn: Lsn): Sample {
    return {
      lsn,
      forks: [...this.forks.values()].map((fork) => ({
        spcOid: fork.spcOid,
        dbOid: fork.dbOid,
        relNumber: fork.relNumber,
        fork: fork.fork,
        nblocks: fork.pages.length,
        digests: fork.pages.map((page) => this.digestOf(page)),
      })),
      slru: new Map([...this.slru].map(([name, page]) => [name, digest(page)])),
      control: structuredClone(this.control),
    };
  }

  private digestOf(page: Buffer): string {
    let known = this.digests.get(page);
    if (known === undefined) this.digests.set(page, (known = digest(page)));
    return known;
  }

  private effect(effect: Effect): void {
    switch (effect.kind) {
      case 'vmClear': {
        const page = this.forks.get(forkName(effect.rel, ForkNumber.vm))?.pages[vmBlockOf(effect.heapBlk)];
        if (page) applyVmClear(page, effect.heapBlk, effect.bits);
        if (page) this.digests.delete(page);
        return;
      }
      case 'vmTruncate': {
        const page = this.forks.get(forkName(effect.rel, ForkNumber.vm))?.pages[
          vmBlockOf(effect.nHeapBlocks)
        ];
        if (page) vmClearFrom(page, effect.nHeapBlocks);
        if (page) this.digests.delete(page);
        return;
      }
      case 'slru': {
        const name = `${effect.slru} ${effect.pageno}`;
        const page = this.slru.get(name) ?? Buffer.alloc(BLCKSZ);
        this.slru.set(name, page);
        return applySlruDelta(page, effect.delta);
      }
      case 'relCreate':
        this.create(effect.rel, effect.fork);
        return;
      case 'relTruncate': {
        const fork = this.forks.get(forkName(effect.rel, effect.fork));
        if (fork && fork.pages.length > effect.nblocks) fork.pages.length = effect.nblocks;
        return;
      }
      case 'relDrop':
        for (const fork of Object.values(ForkNumber)) this.forks.delete(forkName(effect.rel, fork));
        return;
      case 'dbDrop':
        return this.dropDatabase(effect.dbOid, effect.spcOids);
      case 'dbCreate': {
        this.dropDatabase(effect.dbOid, [effect.spcOid]);
        const from = effect.copyFrom;
        for (const fork of [...this.forks.values()]) {
          if (from?.dbOid !== fork.dbOid || from.spcOid !== fork.spcOid) continue;
          const rel = { spcOid: effect.spcOid, dbOid: effect.dbOid, relNumber: fork.relNumber };
          for (const page of fork.pages) this.create(rel, fork.fork).pages.push(Buffer.from(page));
          this.create(rel, fork.fork);
        }
      }
    }
  }

  private dropDatabase(dbOid: number, spcOids: readonly number[]): void {
    for (const [name, fork] of this.forks)
      if (fork.dbOid === dbOid && spcOids.includes(fork.spcOid)) this.forks.delete(name);
  }

  private create({ spcOid, dbOid, relNumber }: RelFileLocator, fork: number): ModelFork {
    const name = forkName({ spcOid, dbOid, relNumber }, fork);
    let found = this.forks.get(name);
    if (!found) this.forks.set(name, (found = { spcOid, dbOid, relNumber, fork, pages: [] }));
    return found;
  }

  private grow(fork: ModelFork, nblocks: number): void {
    while (fork.pages.length < nblocks) {
      const page = Buffer.alloc(BLCKSZ);
      this.digests.set(page, ZERO_DIGEST);
      fork.pages.push(page);
    }
  }

  private block(rel: RelFileLocator, forkNumber: number, blkno: number): Buffer {
    const fork = this.create(rel, forkNumber);
    this.grow(fork, blkno + 1);
    const page = fork.pages[blkno]!;
    this.digests.delete(page);
    return page;
  }
}

export function forkName(rel: RelFileLocator, fork: number): string {
  return `${rel.spcOid}/${rel.dbOid}/${rel.relNumber}/${fork}`;
}
