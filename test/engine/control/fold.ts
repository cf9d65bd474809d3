/**
 * A data directory's state outside relations, followed through the log with effectsOf() and advance(): what a storage node keeps, in
 * plain maps. The tests compare it with what PostgreSQL itself has in its files.
 */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import {
  advance,
  initialControlState,
  parseControlFile,
  parseTwoPhaseFile,
  parseTwoPhaseFileName,
  walFileName,
  type ControlState,
} from '../../../src/engine/control/index.js';
import type { Lsn } from '../../../src/engine/lsn.js';
import {
  applySlruDelta,
  effectsOf,
  SLRU_DIRECTORY,
  SLRU_PAGES_PER_SEGMENT,
  slruSegmentPrecedes,
  type Effect,
  type SlruName,
} from '../../../src/engine/pages/effects/index.js';
import { assertReplayable } from '../../../src/engine/redo/index.js';
import { WalStreamDecoder } from '../../../src/engine/wal/stream.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';

export type SlruPages = Map<SlruName, Map<number, Buffer>>;

export async function readSlrus(dataDir: string): Promise<SlruPages> {
  const slrus: SlruPages = new Map();
  for (const [slru, dir] of Object.entries(SLRU_DIRECTORY) as [SlruName, string][]) {
    const pages = new Map<number, Buffer>();
    for (const name of await fs.readdir(path.join(dataDir, dir))) {
      const bytes = await fs.readFile(path.join(dataDir, dir, name));
      for (let at = 0; at < bytes.length; at += 8192)
        pages.set(parseInt(name, 16) * SLRU_PAGES_PER_SEGMENT + at / 8192, bytes.subarray(at, at + 8192));
    }
    slrus.set(slru, pages);
  }
  return slrus;
}

export class Fold {
  readonly relmaps = new Map<string, Buffer>();
  readonly twoPhase = new Map<number, Buffer>();
  readonly origins = new Map<number, Lsn>();
  readonly files = new Map<string, Buffer>();
  readonly effects: Effect[] = [];
  rejectedFiles = 0;
  /** One record of each type seen. */
  readonly samples = new Map<string, { rec: WalRecord; before: ControlState }>();
  private constructor(
    readonly dataDir: string,
    public state: ControlState,
    readonly slrus: SlruPages,
    private readonly secret: Buffer | null,
  ) {}

  /** Begins with the files of a cleanly stopped server. */
  static async begin(dataDir: string, recordEnd: Lsn, secret: Buffer | null = null): Promise<Fold> {
    const control = parseControlFile(await fs.readFile(path.join(dataDir, 'global', 'pg_control')));
    const fold = new Fold(dataDir, initialControlState(control, recordEnd), await readSlrus(dataDir), secret);
    for (const name of await fs.readdir(path.join(dataDir, 'pg_twophase')))
      fold.twoPhase.set(
        parseTwoPhaseFileName(name)!,
        parseTwoPhaseFile(await fs.readFile(path.join(dataDir, 'pg_twophase', name)), name),
      );
    return fold;
  }

  /** Follows the log up to `end`; `stopBefore` may end it earlier, before a record. Returns the record it stopped before. */
  async follow(end: Lsn, stopBefore: (rec: WalRecord) => boolean = () => false): Promise<WalRecord | null> {
    const { segmentSize, checkpoint, lastRecordEnd: begin, lastRecordLsn } = this.state;
    const decoder = new WalStreamDecoder({ startLsn: begin, segmentSize, lastRecordLsn });
    for (let at: number = begin; at < end;) {
      const segmentStart = at - (at % segmentSize);
      const file = path.join(this.dataDir, 'pg_wal', walFileName(checkpoint.thisTimeLineId, at, segmentSize));
      const bytes = await fs.readFile(file);
      const until = Math.min(end, segmentStart + segmentSize);
      decoder.push(bytes.subarray(at - segmentStart, until - segmentStart));
      at = until;
      for (let rec = decoder.next(); rec !== null; rec = decoder.next()) {
        if (stopBefore(rec)) return rec;
        this.step(rec);
      }
    }
    return null;
  }

  step(rec: WalRecord): void {
    assertReplayable(rec);
    const key = `${rec.rmid}/${rec.info & 0xf0}`;
    if (!this.samples.has(key)) this.samples.set(key, { rec, before: structuredClone(this.state) });
    const context = {
      control: this.state,
      secret: this.secret,
      onRejectedFile: (): void => {
        this.rejectedFiles++;
      },
    };
    for (const effect of effectsOf(rec, context)) this.apply(effect);
    advance(this.state, rec);
  }

  private apply(effect: Effect): void {
    if (effect.kind !== 'vmClear') this.effects.push(effect);
    switch (effect.kind) {
      case 'slru': {
        const pages = this.slrus.get(effect.slru)!;
        const page = pages.get(effect.pageno) ?? Buffer.alloc(8192);
        pages.set(effect.pageno, page);
        return applySlruDelta(page, effect.delta);
      }
      case 'slruTruncate':
        for (const pageno of [...this.slrus.get(effect.slru)!.keys()])
          if (slruSegmentPrecedes(effect.slru, pageno, effect.cutoffPage))
            this.slrus.get(effect.slru)!.delete(pageno);
        return;
      case 'slruDrop':
        for (const pageno of [...this.slrus.get(effect.slru)!.keys()])
          if (pageno >= effect.firstPage && pageno < effect.endPage)
            this.slrus.get(effect.slru)!.delete(pageno);
        return;
      case 'relmap':
        this.relmaps.set(effect.dbOid === 0 ? 'global' : `base/${effect.dbOid}`, effect.data);
        return;
      case 'twoPhasePut':
        this.twoPhase.set(effect.fullXid, effect.data);
        return;
      case 'twoPhaseDrop':
        for (const fullXid of [...this.twoPhase.keys()])
          if (fullXid % 0x1_0000_0000 === effect.xid) this.twoPhase.delete(fullXid);
        return;
      case 'origin':
        if (effect.force || effect.remoteLsn > (this.origins.get(effect.id) ?? 0))
          this.origins.set(effect.id, effect.remoteLsn);
        return;
      case 'originDrop':
        this.origins.delete(effect.id);
        return;
      case 'file':
        this.files.set(effect.name, effect.content);
        return;
    }
  }
}
