import type { PageStoreStats } from './types.js';

/** The store's counters, as its parts count them. */
export type Counters = { -readonly [K in keyof PageStoreStats]: PageStoreStats[K] };

export function newCounters(): Counters {
  return {
    recordsIngested: 0,
    versionsWritten: 0,
    imagesCoalesced: 0,
    coalesceBacklog: 0,
    coalesceFailures: 0,
    pagesRead: 0,
    pageCacheHits: 0,
    deltasApplied: 0,
    deltasWithoutPage: 0,
    filesRefused: 0,
  };
}
