/**
 * What ingest knows of a page: its versions that are in no batch yet (version-puts.ts) and its deltas since the last base (coalesce.ts), in one place because
 * each record asks for both.
 */
import type { Lsn } from '../lsn.js';
import { NONE } from './pending-versions.js';

export class PageState {
  /** Number of the newest version that is not in the batch yet. For VersionPuts only. */
  pending = NONE;
  /** Since the last base. What follows is for CoalesceQueue only. */
  deltas = 0;
  /** The page as of `version`, if it is kept. */
  page: Buffer | null = null;
  version = 0 as Lsn;
  /** Touched since the hand of the clock came by. */
  used = false;
  /** Waits among the pages that are due. */
  due = false;

  constructor(readonly pageno: number) {}

  /** Nothing is known that would be missed. */
  get isIdle(): boolean {
    return this.pending === NONE && this.deltas === 0 && this.page === null;
  }
}

/** Pages of one fork or SLRU; `round` tells those from before the last purge of the queue. */
export class PageStates {
  private readonly byPage = new Map<number, PageState>();

  /** `all` counts the pages of all owners. */
  constructor(
    readonly round: number,
    private readonly all: { pages: number },
  ) {}

  find(pageno: number): PageState | undefined {
    return this.byPage.get(pageno);
  }

  at(pageno: number): PageState {
    let state = this.byPage.get(pageno);
    if (state === undefined) {
      state = new PageState(pageno);
      this.byPage.set(pageno, state);
      this.all.pages++;
    }
    return state;
  }

  /** Forgets the page, unless something is known of it that would be missed. */
  release(state: PageState): void {
    if (!state.isIdle || this.byPage.get(state.pageno) !== state) return;
    this.byPage.delete(state.pageno);
    this.all.pages--;
  }
}
