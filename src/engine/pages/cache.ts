/**
 * Pages already rebuilt, least recently used out first. At most one entry a page: the newest state that was asked for.
 *
 * An entry says: the page is `page` at every LSN from `version` (its newest version, 0 if it has none) to `known` (up to where somebody looked
 * and found no newer one). Ingest does not touch the cache: versions that come later lie beyond `known`, and whoever asks for a later LSN
 * looks for versions after `version` only, applies them and moves the entry on.
 */
import type { Lsn } from '../lsn.js';

export interface CachedPage {
  page: Buffer;
  version: Lsn;
  known: Lsn;
  /** Versions after `version` are in rows at or after this LSN: in the middle of a run, its first one. */
  resume: Lsn;
}

export class PageCache {
  private readonly entries = new Map<string, CachedPage>();

  constructor(private readonly maxPages: number) {}

  get size(): number {
    return this.entries.size;
  }

  get(name: string): CachedPage | undefined {
    const entry = this.entries.get(name);
    if (!entry) return undefined;
    // A Map keeps insertion order: the first key is the one not used for longest.
    this.entries.delete(name);
    this.entries.set(name, entry);
    return entry;
  }

  set(name: string, entry: CachedPage): void {
    if (this.maxPages === 0) return;
    this.entries.delete(name);
    this.entries.set(name, entry);
    if (this.entries.size > this.maxPages) this.entries.delete(this.entries.keys().next().value!);
  }

  delete(name: string): void {
    this.entries.delete(name);
  }

  clear(): void {
    this.entries.clear();
  }
}
