/** Writing the images that are due. An image replaces nothing: it lies beside the newest version in it and shortens the way back. */
import type { CoalesceQueue, DuePage } from './coalesce.js';
import { oldestVisible } from './forks.js';
import { Kind, OLDEST, PageVersionKey, SlruVersionKey, type VersionedKey } from './keys.js';
import type { BuiltPage } from './builder.js';
import type { RocksBatch } from './rocks.js';
import type { PageStore } from './store.js';
import type { BranchId } from './types.js';
import { encodeImage } from './values.js';

/**
 * Writes, by way of `batch`, an image of each of the pages, which were taken from the queue, as of the applied LSN. A page that cannot be rebuilt is counted and left
 * as it is: its readers get the reason, and other pages are not held up.
 */
export function coalesce(
  store: PageStore,
  queue: CoalesceQueue,
  batch: RocksBatch,
  branch: BranchId,
  pages: readonly DuePage[],
): void {
  const { counters } = store.parts;
  batch.clear();
  for (const due of pages) {
    try {
      if (due.kind === 'page') coalescePage(store, queue, batch, branch, due);
      else coalesceSlru(store, queue, batch, branch, due);
    } catch {
      counters.coalesceFailures++;
    }
  }
  if (batch.length > 0) batch.write(false);
}

function coalescePage(
  store: PageStore,
  queue: CoalesceQueue,
  batch: RocksBatch,
  branch: BranchId,
  due: Extract<DuePage, { kind: 'page' }>,
): void {
  const { forks, builder } = store.parts;
  const fork = forks.current(branch, due.key, due.key.fork);
  if (!fork.exists || due.key.blkno >= fork.nblocks) return;
  const key = new PageVersionKey().setPage(branch, due.key, due.key.fork, due.key.blkno);
  const kept = queue.keptPage(fork, due.key.blkno);
  if (kept) {
    putImage(store, batch, key, kept);
    queue.coalesced(fork, due.key.blkno, kept.page, kept.version);
    return;
  }
  const built = builder.build(key, due.key, store.appliedLsn, oldestVisible(fork, due.key.blkno));
  if (built.deltas !== 0) putImage(store, batch, key, built);
  queue.coalesced(fork, due.key.blkno, built.page, built.version);
}

function coalesceSlru(
  store: PageStore,
  queue: CoalesceQueue,
  batch: RocksBatch,
  branch: BranchId,
  due: Extract<DuePage, { kind: 'slru' }>,
): void {
  const { slru, pageno } = due;
  const key = new SlruVersionKey().setPage(branch, slru, pageno);
  const kept = queue.keptSlruPage(slru, pageno);
  if (kept) {
    putImage(store, batch, key, kept);
    queue.slruCoalesced(slru, pageno, kept.page, kept.version);
    return;
  }
  const built = store.parts.builder.build(key, null, store.appliedLsn, OLDEST);
  if (built.deltas !== 0) putImage(store, batch, key, built);
  queue.slruCoalesced(slru, pageno, built.page, built.version);
}

function putImage(
  store: PageStore,
  batch: RocksBatch,
  key: VersionedKey,
  built: Pick<BuiltPage, 'page' | 'version'>,
): void {
  batch.put(key.set(built.version, Kind.coalesced), encodeImage(built.page));
  store.parts.counters.imagesCoalesced++;
}
