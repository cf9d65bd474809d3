/** Do all storage nodes hold the same pages? */
import { strict as assert } from 'node:assert';
import { parseLsn } from '../../src/engine/lsn.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import type { TestCluster } from './cluster.js';

const RUN = 500;
const LANES = 8;

/**
 * Throws unless all nodes give the same relations and the same bytes of every page as of one LSN; gives how many pages were compared.
 * `tables`: pages of these tables and their indexes alone, in the database postgres.
 */
export async function assertSamePages(
  cluster: TestCluster,
  tables: readonly string[] | null = null,
): Promise<number> {
  const wanted = tables === null ? null : await filesOf(cluster, tables);
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
    const runs = manifests[0]!.relations
      .filter((rel) => wanted === null || wanted.has(rel.relNumber))
      .flatMap((rel) => runsOf(rel.nblocks).map((run) => ({ ...rel, ...run, lsn })));
    // Several at a time: a node under load takes long to answer one, and most relations are small.
    const next = runs.values();
    const lane = async (): Promise<void> => {
      for (const run of next) {
        const [first, ...others] = await Promise.all(clients.map((client) => client.getPages(run)));
        for (const pages of others) assert.ok(pages.equals(first!), JSON.stringify(run));
        compared += run.count;
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
  } finally {
    for (const client of clients) client.close();
  }
  return compared;
}

function runsOf(nblocks: number): { blkno: number; count: number }[] {
  const runs = [];
  for (let blkno = 0; blkno < nblocks; blkno += RUN)
    runs.push({ blkno, count: Math.min(RUN, nblocks - blkno) });
  return runs;
}

async function filesOf(cluster: TestCluster, tables: readonly string[]): Promise<Set<number>> {
  const rows = await cluster.sql(
    `select pg_relation_filenode(t)::int as file from (select unnest('{${tables.join(',')}}'::text[])::regclass as t
     union all select indexrelid from pg_index where indrelid = any('{${tables.join(',')}}'::text[]::regclass[])) s`,
  );
  return new Set(rows.map(({ file }) => file as number));
}
