/** Do all storage nodes hold the same pages? */
import { strict as assert } from 'node:assert';
import { parseLsn } from '../../src/engine/lsn.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import type { TestCluster } from './cluster.js';

const RUN = 500;

/** Throws unless all nodes give the same relations and the same bytes of every page as of one LSN; gives how many pages were compared. */
export async function assertSamePages(cluster: TestCluster): Promise<number> {
  const status = await cluster.status();
  const lsn = parseLsn(status.volume.commitLsn!);
  const clients = await Promise.all(
    cluster.storageNodes.map((node) =>
      StorageClient.connect(node, {
        secret: loadSecret(cluster.layout.secret),
        volumeId: status.volume.id,
        role: 'tool',
        clientId: 'test',
      }),
    ),
  );
  let compared = 0;
  try {
    for (const client of clients) await client.waitApplied({ lsn, timeoutMs: 60_000 });
    const manifests = await Promise.all(clients.map((client) => client.manifest({ lsn })));
    for (const manifest of manifests) assert.deepEqual(manifest, manifests[0]);
    for (const rel of manifests[0]!.relations)
      for (let blkno = 0; blkno < rel.nblocks; blkno += RUN) {
        const run = { ...rel, blkno, count: Math.min(RUN, rel.nblocks - blkno), lsn };
        const [first, ...others] = await Promise.all(clients.map((client) => client.getPages(run)));
        for (const pages of others) assert.ok(pages.equals(first!), JSON.stringify(run));
        compared += run.count;
      }
  } finally {
    for (const client of clients) client.close();
  }
  return compared;
}
