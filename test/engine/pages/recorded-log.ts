/** A data directory as it was, the log that PostgreSQL wrote from there on, and the directory as it became. */
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { formatLsn, type Lsn } from '../../../src/engine/lsn.js';
import { PageStore } from '../../../src/engine/pages/store.js';
import type { PageStoreOptions } from '../../../src/engine/pages/types.js';
import { WalReader } from '../../../src/engine/wal/reader.js';
import { openWalDirectory } from '../../../src/engine/wal/segments.js';
import type { WalRecord } from '../../../src/engine/wal/types.js';
import { importCluster, openSourceCluster } from '../../../src/storage/import.js';
import { startPlainPostgres, type PlainPostgres } from '../../helpers/plain-postgres.js';

export interface RecordedLog {
  /** All records from the import LSN to the shutdown checkpoint, which is the last one. */
  readonly records: readonly WalRecord[];
  readonly importLsn: Lsn;
  /** The data directory at `importLsn`. */
  readonly baseDir: string;
  /** The data directory at the end of the last record. */
  readonly finalDir: string;
  destroy(): Promise<void>;
}

/** `settings` apply while `run` runs. */
export async function recordLog(
  settings: Record<string, string>,
  run: (server: PlainPostgres) => Promise<void>,
): Promise<RecordedLog> {
  const server = await startPlainPostgres({
    settings: {
      wal_level: 'replica',
      autovacuum: 'off',
      max_wal_size: '8GB',
      wal_keep_size: '1GB',
      ...settings,
    },
  });
  const root = await fs.mkdtemp(path.join(os.tmpdir(), 'oa-base-'));
  const destroy = async () => {
    await server.destroy();
    await fs.rm(root, { recursive: true, force: true });
  };
  try {
    await server.stop();
    const baseDir = path.join(root, 'base');
    await fs.cp(server.dataDir, baseDir, { recursive: true });
    await server.start();
    await run(server);
    await server.stop();
    const importLsn = (await openSourceCluster(baseDir)).lsn;
    const records: WalRecord[] = [];
    const wal = await openWalDirectory(server.dataDir);
    const reader = new WalReader(wal, { start: importLsn });
    for await (const batch of reader.batches()) records.push(...batch);
    await wal.close();
    const finalLsn = (await openSourceCluster(server.dataDir)).lsn;
    if (reader.position !== finalLsn)
      throw new Error(
        `the log was read up to ${formatLsn(reader.position)}, it ends at ${formatLsn(finalLsn)}`,
      );
    return { records, importLsn, baseDir, finalDir: server.dataDir, destroy };
  } catch (err) {
    await destroy();
    throw err;
  }
}

/** Page stores in temporary folders. */
export class StoreFolder {
  private readonly open = new Set<PageStore>();
  private constructor(readonly root: string) {}

  static async create(): Promise<StoreFolder> {
    return new StoreFolder(await fs.mkdtemp(path.join(os.tmpdir(), 'oa-pages-')));
  }

  /** Opens `name`, a new store or one that was there. */
  async store(name: string, options: PageStoreOptions = {}): Promise<PageStore> {
    const store = await PageStore.open(path.join(this.root, name), { memtableBytes: 16 << 20, ...options });
    this.open.add(store);
    return store;
  }

  /** A new store with the state of `dataDir`. */
  async imported(name: string, dataDir: string, options: PageStoreOptions = {}): Promise<PageStore> {
    const store = await this.store(name, options);
    const cluster = await openSourceCluster(dataDir);
    await importCluster(cluster, { pages: store.beginImport(cluster.lsn), appendLog: () => undefined });
    return store;
  }

  async close(store: PageStore): Promise<void> {
    this.open.delete(store);
    await store.close();
  }

  async destroy(): Promise<void> {
    for (const store of this.open) await store.close();
    await fs.rm(this.root, { recursive: true, force: true });
  }
}
