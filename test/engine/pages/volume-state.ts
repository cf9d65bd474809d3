/** All that a store says of one LSN, as a map from what was asked to a digest of the answer: for comparing stores. */
import { isDbError } from '../../../src/engine/errors.js';
import type { Lsn } from '../../../src/engine/lsn.js';
import type { SlruName } from '../../../src/engine/pages/effects/types.js';
import type { PageStore } from '../../../src/engine/pages/store.js';
import type { RelFileLocator } from '../../../src/engine/wal/types.js';
import { digest, forkName } from './replay-model.js';

/** What is asked for beside what the volume says that it has. */
export interface Questions {
  /** Forks, with blocks that may or may not exist. */
  readonly forks: readonly (RelFileLocator & { fork: number; blocks: number })[];
  readonly slru: readonly { slru: SlruName; pageno: number }[];
}

export type VolumeState = Map<string, string>;

/** The answer to one question: what it gave, or the code that it failed with. */
function answer(ask: () => string): string {
  try {
    return ask();
  } catch (err) {
    if (isDbError(err)) return `! ${err.code}`;
    throw err;
  }
}

/** Everything at `at`, where all history must be there. */
export function stateOf(store: PageStore, at: Lsn, extra: Questions = { forks: [], slru: [] }): VolumeState {
  const manifest = store.manifest(at);
  const state: VolumeState = pagesOf(store, at, {
    forks: [...extra.forks, ...manifest.relations.map((rel) => ({ ...rel, blocks: rel.nblocks }))],
    slru: [
      ...extra.slru,
      ...manifest.slrus.flatMap(({ slru, ranges }) =>
        ranges.flatMap(([first, last]) =>
          Array.from({ length: last - first + 1 }, (_, i) => ({ slru, pageno: first + i })),
        ),
      ),
    ],
  });
  state.set('manifest', JSON.stringify(manifest));
  state.set('control', JSON.stringify(store.controlSnapshot(at)));
  return state;
}

/** Pages and sizes only: what may also be asked before the horizon. */
export function pagesOf(store: PageStore, at: Lsn, questions: Questions): VolumeState {
  const state: VolumeState = new Map();
  for (const { fork, blocks, ...rel } of questions.forks) {
    const name = forkName(rel, fork);
    state.set(
      `${name} size`,
      answer(() => String(store.relationSize(rel, fork, at))),
    );
    for (let blkno = 0; blkno < blocks; blkno++)
      state.set(
        `${name} ${blkno}`,
        answer(() => digest(store.getPage({ ...rel, fork, blkno }, at))),
      );
  }
  for (const { slru, pageno } of questions.slru)
    state.set(
      `${slru} ${pageno}`,
      answer(() => {
        const page = store.getSlruPage(slru, pageno, at);
        return page ? digest(page) : 'none';
      }),
    );
  return state;
}

/** The first difference, for a message; null if there is none. */
export function difference(expected: VolumeState, actual: VolumeState): string | null {
  for (const [what, value] of expected)
    if (actual.get(what) !== value) return `${what}: expected ${value}, got ${actual.get(what)}`;
  for (const what of actual.keys()) if (!expected.has(what)) return `${what}: not expected`;
  return null;
}
