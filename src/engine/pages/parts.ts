/** What the store's parts share: one of each per open store. */
import type { PageBuilder } from './builder.js';
import type { PageCache } from './cache.js';
import type { Facts } from './facts.js';
import type { ForkTable } from './forks.js';
import type { RedoContext } from '../redo/types.js';
import type { Rocks } from './rocks.js';
import type { Counters } from './stats.js';

export interface StoreParts {
  readonly db: Rocks;
  readonly forks: ForkTable;
  readonly facts: Facts;
  readonly cache: PageCache;
  readonly builder: PageBuilder;
  readonly counters: Counters;
  readonly redo: RedoContext;
}
