import path from 'node:path';
import { LogStore } from '../engine/log/index.js';
import { PageStore } from '../engine/pages/store.js';
import type { PageStoreOptions } from '../engine/pages/types.js';
import {
  buildFolder,
  importCluster,
  type ImportProgress,
  type ImportResult,
  type SourceCluster,
} from './import.js';
import { LOG_FOLDER, PAGES_FOLDER } from './folders.js';
import { Identity } from './identity.js';

export { LOG_FOLDER, PAGES_FOLDER };

/**
 * Makes the folder of a new storage node from a cleanly stopped data directory: pages and log as of its last checkpoint, and an identity
 * that has promised nothing. All of it or nothing is left in `dir`. Throws IMPORT_*, LOG_WRITE_FAILED.
 */
export async function createNode(
  options: { dir: string; nodeId: string; volumeId: string; pages?: PageStoreOptions },
  cluster: SourceCluster,
  onProgress?: (progress: ImportProgress) => void,
): Promise<ImportResult> {
  const { dir, nodeId, volumeId } = options;
  return buildFolder(dir, async (partial) => {
    const store = await PageStore.open(path.join(partial, PAGES_FOLDER), options.pages);
    try {
      const start = cluster.log.begin;
      const log = await LogStore.create(path.join(partial, LOG_FOLDER), { volumeId, nodeId }, start, [
        { epoch: 0, startLsn: start },
      ]);
      try {
        const target = {
          pages: store.beginImport(cluster.lsn),
          appendLog: (begin: typeof start, bytes: Buffer) => log.append(begin, Buffer.from(bytes)),
        };
        const result = await importCluster(cluster, target, onProgress);
        await log.sync();
        Identity.create(partial, { nodeId, volumeId, importLsn: result.lsn }, false);
        return result;
      } finally {
        await log.close();
      }
    } finally {
      await store.close();
    }
  });
}
