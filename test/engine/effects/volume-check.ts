/** A page store that follows a real server's log, and is compared with the server's files whenever the server stops. */
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseCheckpoint, type CheckPoint } from '../../../src/engine/control/index.js';
import { multiPrecedes, xidPrecedes } from '../../../src/engine/control/xid.js';
import { formatLsn } from '../../../src/engine/lsn.js';
import { Ingester } from '../../../src/engine/pages/ingest.js';
import { PageStore } from '../../../src/engine/pages/store.js';
import { WalReader } from '../../../src/engine/wal/reader.js';
import { openWalDirectory } from '../../../src/engine/wal/segments.js';
import { Rmgr, type WalRecord } from '../../../src/engine/wal/types.js';
import { importCluster, openSourceCluster } from '../../../src/storage/import.js';
import { differences, stateOfFiles, stateOfStore } from './directory-state.js';

const CHECKPOINT_SHUTDOWN = 0x00;

export class VolumeCheck {
  private constructor(
    private readonly root: string,
    readonly store: PageStore,
    private readonly ingester: Ingester,
  ) {}

  /** Begins with the files of a cleanly stopped server. Close it in the end. */
  static async begin(dataDir: string): Promise<VolumeCheck> {
    const root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-volume-'));
    const store = await PageStore.open(path.join(root, 'store'), { coalesce: { kind: 'lazy' } });
    await importCluster(await openSourceCluster(dataDir), {
      pages: store.beginImport((await openSourceCluster(dataDir)).lsn),
      appendLog: () => undefined,
    });
    return new VolumeCheck(root, store, new Ingester(store, { secret: null }));
  }

  /**
   * Ingests the log up to the shutdown checkpoint of the cleanly stopped server in `dataDir`. Returns what differs from its files;
   * `onRecord` gets each record.
   */
  async compare(dataDir: string, onRecord?: (rec: WalRecord) => void): Promise<string[]> {
    const { lsn: end } = await openSourceCluster(dataDir);
    const wal = await openWalDirectory(dataDir);
    const found: string[] = [];
    try {
      const reader = new WalReader(wal, { start: this.store.appliedLsn });
      for await (const batch of reader.batches()) {
        if (onRecord) batch.forEach(onRecord);
        const last = batch.at(-1)!;
        if (last.endLsn !== end) {
          this.ingester.ingestBatch(batch);
          continue;
        }
        this.ingester.ingestBatch(batch.slice(0, -1));
        found.push(...this.checkpointDifferences(last));
        this.ingester.ingestBatch([last]);
      }
      if (reader.position !== end)
        found.push(`the log was read up to ${formatLsn(reader.position)}, it ends at ${formatLsn(end)}`);
    } finally {
      await wal.close();
    }
    return [...found, ...differences(stateOfStore(this.store), await stateOfFiles(dataDir))];
  }

  async close(): Promise<void> {
    await this.store.close();
    await fs.rm(this.root, { recursive: true, force: true });
  }

  /**
   * The control state just before the shutdown checkpoint must be what that says. Limits that VACUUM moves without a record may lag behind, and
   * of the object ids set aside by the last NEXTOID some were not used.
   */
  private checkpointDifferences(rec: WalRecord): string[] {
    if (rec.rmid !== Rmgr.XLOG || (rec.info & 0xf0) !== CHECKPOINT_SHUTDOWN)
      return [`the log ends with another record than a shutdown checkpoint, at ${formatLsn(rec.startLsn)}`];
    const ours: CheckPoint = this.ingester.controlState.checkpoint;
    const said = parseCheckpoint(rec.mainData);
    const exact = [
      'thisTimeLineId',
      'fullPageWrites',
      'walLevel',
      'nextXid',
      'nextMulti',
      'nextMultiOffset',
      'newestCommitTsXid',
    ] as const;
    const found = exact
      .filter((field) => ours[field] !== said[field])
      .map((field) => `checkpoint ${field}: ${String(ours[field])}, theirs ${String(said[field])}`);
    const lags = {
      oldestXid: xidPrecedes(said.oldestXid, ours.oldestXid),
      oldestMulti: multiPrecedes(said.oldestMulti, ours.oldestMulti),
      oldestCommitTsXid: xidPrecedes(said.oldestCommitTsXid, ours.oldestCommitTsXid),
      nextOid: ours.nextOid < said.nextOid || ours.nextOid - said.nextOid > 8192,
    };
    for (const [field, wrong] of Object.entries(lags) as [keyof typeof lags, boolean][])
      if (wrong) found.push(`checkpoint ${field}: ${ours[field]}, theirs ${said[field]}`);
    return found;
  }
}
