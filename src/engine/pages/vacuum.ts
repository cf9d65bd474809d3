/**
 * Removes history: everything that no read at or after a horizon H can see. Of each page what stays is the newest base at or before H and all
 * that is newer; of a fork or a fact, its newest version at or before H and all newer ones. What goes:
 *   - versions behind that base,
 *   - versions that a drop, a new incarnation or a floor has hidden at H, and so for good, for these only ever hide more,
 *   - whatever had ceased to exist by H.
 * A page that has not changed since H and still needs a chain of deltas gets an image first, and the chain goes.
 *
 * A pass walks through the whole store in slices, from where the last slice ended; ingest and reads come in between, and so may a crash. At each
 * of these moments the store answers as before: what says that there is nothing goes after all that it hides. The next pass finds what is left.
 */
import type { Lsn } from '../lsn.js';
import { PageBuilder } from './builder.js';
import { PageCache } from './cache.js';
import { rangesHave, type PageRange } from './facts.js';
import { oldestVisible, type ForkVersion } from './forks.js';
import {
  branchKey,
  FIRST_DELTA_KIND,
  KeySpace,
  Kind,
  LSN_BYTES,
  OLDEST,
  PageVersionKey,
  prefixEnd,
  readInvertedLsn,
  REL_PREFIX,
  slruNames,
  SlruVersionKey,
  versionKind,
  versionLsn,
  writeInvertedLsn,
  type VersionedKey,
} from './keys.js';
import type { StoreParts } from './parts.js';
import type { RocksBatch } from './rocks.js';
import { runEnd, runLength } from './runs.js';
import { newCounters } from './stats.js';
import type { PageStore } from './store.js';
import { MAIN_BRANCH, type BranchId, type PageKey } from './types.js';
import { encodeImage } from './values.js';

/** Counted since the vacuum was made. */
export interface VacuumCounters {
  passes: number;
  /** Keys looked at. */
  keysVisited: number;
  /** Versions of pages, forks and facts removed one by one. */
  versionsRemoved: number;
  /** Dropped forks whose pages went all at once. */
  forksRemoved: number;
  /** Images written in place of the chains of pages at rest. */
  imagesWritten: number;
  /** Pages at rest that could not be rebuilt: reading them fails with the reason. They keep their chain. */
  failures: number;
}

/** Keys of one step; with an image for every chain among them, some milliseconds. */
const STEP_KEYS = 128;
const STEP_BYTES = 128 * 1024;
/** A page at rest with this many deltas gets an image. Fewer cost less room than an image might, and hardly any time to replay. */
const REST_DELTAS = 8;
const VERSION_SUFFIX = LSN_BYTES + 1;
/** Versions of a chain that one image takes the place of at most; more are left for the next pass. */
const CHAIN_MAX = 8192;
const AFTER = Buffer.from([0]);
const NEWEST = Number.MAX_SAFE_INTEGER as Lsn;

/** Keys after the horizon of one page or fact that are passed one by one; then a search costs less. */
const NEWER_KEYS = 12;

interface Sweep {
  /** One step; false when there is nothing left to do. */
  step(): boolean;
}

/** What all sweeps of one pass share. */
interface Pass {
  readonly parts: StoreParts;
  readonly branch: BranchId;
  readonly horizon: Lsn;
  readonly batch: RocksBatch;
  readonly counters: VacuumCounters;
  readonly builder: PageBuilder;
  /** Keys of one step. */
  readonly stepKeys: number;
  failed(err: Error): void;
}

export class Vacuum {
  readonly counters: VacuumCounters = {
    passes: 0,
    keysVisited: 0,
    versionsRemoved: 0,
    forksRemoved: 0,
    imagesWritten: 0,
    failures: 0,
  };
  private sweeps: Sweep[] = [];
  private failure: Error | null = null;
  private readonly builder: PageBuilder;

  constructor(
    private readonly store: PageStore,
    private readonly stepKeys = STEP_KEYS,
    private readonly branch: BranchId = MAIN_BRANCH,
  ) {
    const { db, redo } = store.parts;
    // A cache of its own, of nothing: pages at rest are not what readers are about to want.
    this.builder = new PageBuilder(db, new PageCache(0), redo, newCounters());
  }

  /** A pass is under way. */
  get running(): boolean {
    return this.sweeps.length > 0;
  }

  /** Gives up history before `horizon` and begins a pass, in place of one that is under way. Throws RangeError beyond the applied LSN. */
  begin(horizon: Lsn): void {
    this.store.raiseHorizon(horizon);
    const { parts } = this.store;
    const pass: Pass = {
      parts,
      branch: this.branch,
      horizon: this.store.horizon,
      batch: parts.db.batch(),
      counters: this.counters,
      builder: this.builder,
      stepKeys: this.stepKeys,
      failed: (err) => (this.failure = err),
    };
    // Pages before forks, SLRU pages before facts: whether a page exists is asked of what still says so.
    this.sweeps = [new PageSweep(pass), new SlruSweep(pass), new NewestSweep(pass, KeySpace.fork), new NewestSweep(pass, KeySpace.fact)]; // prettier-ignore
  }

  /** Works on the pass until `over` says so, once at least; true when the pass is complete. Never in the middle of an ingest batch. */
  slice(over: () => boolean): boolean {
    const { failure } = this;
    this.failure = null;
    if (failure) throw failure;
    while (this.sweeps.length > 0) {
      if (!this.sweeps[0]!.step()) {
        this.sweeps.shift();
        if (this.sweeps.length === 0) this.counters.passes++;
      }
      if (over()) break;
    }
    return !this.running;
  }
}

/** What a page is as of the horizon. */
interface PageAtHorizon {
  /** Versions before this are hidden; NEWEST when the page does not exist, so that all of them are. */
  readonly oldest: Lsn;
  /** Reads see it, so that an image in place of a chain is of use. */
  readonly visible: boolean;
}

/** The page whose keys are passing by. */
interface PageInSweep extends PageAtHorizon {
  readonly name: Buffer;
  /** The newest base at or before the horizon has passed. */
  based: boolean;
  /** Versions after the horizon that have passed. */
  changes: number;
  /** Deltas at or before the horizon that stay. */
  deltas: number;
  /** Of a page that does not exist: its newest version at or before the horizon, which hides those behind it and goes last. */
  last: Buffer | null;
}

/** Versions of pages, relations' or SLRUs'. */
abstract class VersionSweep implements Sweep {
  private page: PageInSweep | null = null;

  protected constructor(
    protected readonly pass: Pass,
    protected from: Buffer,
    protected readonly end: Buffer,
  ) {}

  step(): boolean {
    const { parts, batch, counters, stepKeys } = this.pass;
    const keys = parts.db.keys(this.from, this.end, stepKeys);
    let next: Buffer | null = null;
    for (const key of keys) {
      if (next !== null && key.compare(next) < 0) continue;
      counters.keysVisited++;
      next = this.visit(key);
    }
    const last = keys.at(-1);
    const more = next !== null || keys.length === stepKeys;
    if (last) this.from = next ?? Buffer.concat([last, AFTER]);
    if (!more) this.finishPage();
    if (batch.length > 0) batch.write(false);
    return more;
  }

  /** The page as of the horizon; or, when all that begins like this key has gone at once, where to go on. */
  protected abstract pageAt(key: Buffer): PageAtHorizon | { readonly next: Buffer };
  protected abstract keyOf(name: Buffer): { key: VersionedKey; target: PageKey | null };

  /** Where to go on, if not at the next key. */
  private visit(key: Buffer): Buffer | null {
    const { horizon } = this.pass;
    const nameLength = key.length - VERSION_SUFFIX;
    if (this.page?.name.compare(key, 0, nameLength) !== 0) {
      this.finishPage();
      const at = this.pageAt(key);
      if ('next' in at) return at.next;
      this.page = {
        ...at,
        name: key.subarray(0, nameLength),
        based: false,
        changes: 0,
        deltas: 0,
        last: null,
      };
    }
    const page = this.page!;
    const version = versionLsn(key);
    if (version > horizon) {
      // What is newer stays, however much it is: past some of it, the search goes on at the horizon.
      if (++page.changes === NEWER_KEYS) return atHorizon(key, nameLength, horizon);
    } else if (page.oldest === NEWEST && page.last === null) {
      page.last = key;
    } else if (page.based || version < page.oldest) {
      this.remove(key);
    } else if (versionKind(key) < FIRST_DELTA_KIND) {
      page.based = true;
    } else {
      this.stays(page, key);
    }
    return null;
  }

  /** A row of deltas at or before the horizon, whose chain has no base yet; a run may go on beyond the horizon. */
  private stays(page: PageInSweep, key: Buffer): void {
    const run = versionKind(key) === Kind.run ? this.pass.parts.db.get(key) : null;
    if (run === null) {
      page.deltas++;
      return;
    }
    if (runEnd(key, run) > this.pass.horizon) page.changes++;
    page.deltas += runLength(key, run);
  }

  private finishPage(): void {
    const { page } = this;
    this.page = null;
    if (page?.last) this.remove(page.last);
    if (page && page.visible && page.changes === 0 && page.deltas >= REST_DELTAS) this.putToRest(page);
  }

  private remove(key: Buffer): void {
    this.pass.batch.delete(key);
    this.pass.counters.versionsRemoved++;
  }

  /** An image of the page in place of its chain. */
  private putToRest(page: PageInSweep): void {
    const { parts, batch, builder, horizon, counters } = this.pass;
    const { key, target } = this.keyOf(page.name);
    let image: Buffer;
    let version: Lsn;
    try {
      const built = builder.build(key, target, horizon, page.oldest);
      image = encodeImage(built.page);
      version = built.version;
    } catch {
      counters.failures++;
      return;
    }
    batch.put(key.set(version, Kind.coalesced), image);
    const behind = Buffer.concat([key.bytes, AFTER]);
    const chain = parts.db.keys(behind, Buffer.from(key.endOf(OLDEST)), CHAIN_MAX);
    for (const old of chain) batch.delete(old);
    counters.imagesWritten++;
    counters.versionsRemoved += chain.length;
  }
}

/** Where the versions at or before the horizon begin of what the first `idLength` bytes of `key` name. */
function atHorizon(key: Buffer, idLength: number, horizon: Lsn): Buffer {
  const next = Buffer.from(key.subarray(0, idLength + LSN_BYTES));
  writeInvertedLsn(next, horizon, idLength);
  return next;
}

class PageSweep extends VersionSweep {
  private fork: { readonly name: Buffer; readonly version: ForkVersion | null } | null = null;

  constructor(pass: Pass) {
    const prefix = branchKey(KeySpace.page, pass.branch);
    super(pass, prefix, prefixEnd(prefix));
  }

  protected override pageAt(key: Buffer): PageAtHorizon | { readonly next: Buffer } {
    if (this.fork?.name.compare(key, 0, REL_PREFIX) !== 0) {
      const name = key.subarray(0, REL_PREFIX);
      const next = this.removedAtOnce(name);
      if (next) return { next };
      const row = this.rowAt(name, this.pass.horizon);
      this.fork = { name, version: row?.version.exists ? row.version : null };
    }
    const { version } = this.fork!;
    if (!version) return { oldest: NEWEST, visible: false };
    const blkno = key.readUInt32BE(REL_PREFIX);
    return { oldest: oldestVisible(version, blkno), visible: blkno < version.nblocks };
  }

  protected override keyOf(name: Buffer): { key: VersionedKey; target: PageKey } {
    const target = { ...relOf(name), fork: name[17]!, blkno: name.readUInt32BE(REL_PREFIX) };
    return { key: new PageVersionKey().setPage(this.pass.branch, target, target.fork, target.blkno), target };
  }

  /** When the fork was dropped by the horizon and never came back, none of its pages is needed. */
  private removedAtOnce(name: Buffer): Buffer | null {
    const { parts, horizon, counters, failed } = this.pass;
    const newest = this.rowAt(name, NEWEST);
    if (!newest || newest.version.exists || newest.changedAt > horizon) return null;
    const end = prefixEnd(name);
    parts.db.deleteRange(name, end, failed);
    counters.forksRemoved++;
    return end;
  }

  private rowAt(name: Buffer, at: Lsn): { version: ForkVersion; changedAt: Lsn } | null {
    return this.pass.parts.forks.rowAt(this.pass.branch, relOf(name), name[17]!, at);
  }
}

function relOf(name: Buffer): { spcOid: number; dbOid: number; relNumber: number } {
  return {
    spcOid: name.readUInt32BE(5),
    dbOid: name.readUInt32BE(9),
    relNumber: name.readUInt32BE(13),
  };
}

class SlruSweep extends VersionSweep {
  private readonly ranges = new Map<number, readonly PageRange[]>();

  constructor(pass: Pass) {
    const prefix = branchKey(KeySpace.slru, pass.branch);
    super(pass, prefix, prefixEnd(prefix));
  }

  protected override pageAt(key: Buffer): PageAtHorizon {
    const slru = key[5]!;
    const pageno = key.readUInt32BE(6);
    let ranges = this.ranges.get(slru);
    if (!ranges) {
      ranges = this.pass.parts.facts.slruPages(this.pass.branch, slruNames[slru]!, this.pass.horizon);
      this.ranges.set(slru, ranges);
    }
    if (rangesHave(ranges, pageno)) return { oldest: OLDEST, visible: true };
    // It begins with zeros should it come back, and nothing in the store will say so any more.
    this.pass.parts.cache.delete(key.toString('latin1', 0, key.length - VERSION_SUFFIX));
    return { oldest: NEWEST, visible: false };
  }

  protected override keyOf(name: Buffer): { key: VersionedKey; target: null } {
    const key = new SlruVersionKey().setPage(this.pass.branch, slruNames[name[5]!]!, name.readUInt32BE(6));
    return { key, target: null };
  }
}

/** Forks and facts: keys that end in an inverted LSN, values that begin with 0 when there is nothing any more. */
class NewestSweep implements Sweep {
  private from: Buffer;
  private readonly end: Buffer;
  private id: Buffer | null = null;
  /** Of the present id, the newest version at or before the horizon has passed. */
  private passed = false;
  /** Of the present id, versions after the horizon that have passed. */
  private newer = 0;
  /** That version, if it says that there is nothing: it hides those behind it, and goes last. */
  private last: Buffer | null = null;

  constructor(
    private readonly pass: Pass,
    space: number,
  ) {
    this.from = branchKey(space, pass.branch);
    this.end = prefixEnd(this.from);
  }

  step(): boolean {
    const { parts, batch, counters, horizon, stepKeys } = this.pass;
    const rows = parts.db.range(this.from, this.end, stepKeys, STEP_BYTES);
    let next: Buffer | null = null;
    for (let i = 0; i < rows.length; i += 2) {
      const key = rows[i]!;
      if (next !== null && key.compare(next) < 0) continue;
      next = null;
      const idLength = key.length - LSN_BYTES;
      counters.keysVisited++;
      if (this.id?.compare(key, 0, idLength) !== 0) {
        this.finishId();
        this.id = key.subarray(0, idLength);
        this.passed = false;
        this.newer = 0;
      }
      if (readInvertedLsn(key, idLength) > horizon) {
        if (++this.newer === NEWER_KEYS) next = atHorizon(key, idLength, horizon);
        continue;
      }
      if (this.passed) this.remove(key);
      else if (rows[i + 1]![0] === 0) this.last = key;
      this.passed = true;
    }
    const end = rows.at(-2);
    if (end) this.from = next ?? Buffer.concat([end, AFTER]);
    else this.finishId();
    if (batch.length > 0) batch.write(false);
    return end !== undefined;
  }

  private finishId(): void {
    if (this.last) this.remove(this.last);
    this.last = null;
  }

  private remove(key: Buffer): void {
    this.pass.batch.delete(key);
    this.pass.counters.versionsRemoved++;
  }
}
