/** Every record type of PostgreSQL 18, why some cannot be produced, and what proves those that carry no page image. */
import { redoTables } from '../../src/engine/redo/index.js';
import { INIT_PAGE } from '../../src/engine/redo/heap-records.js';
import { Rmgr } from '../../src/engine/wal/types.js';

/** `Heap/INSERT`, `Heap/INSERT+INIT` ..., by resource manager and opcode: the names of recordTypeName(). */
export function allRecordTypes(): string[] {
  return [...redoTables]
    .sort((a, b) => a.rmid - b.rmid)
    .flatMap(({ rmid, name, ops }) =>
      Object.entries(ops)
        .sort(([a], [b]) => Number(a) - Number(b))
        .flatMap(([, op]) => {
          const type = `${name}/${op.name}`;
          const init = rmid !== Rmgr.Transaction && ((op.infoBits ?? 0) & INIT_PAGE) !== 0;
          return init ? [type, `${type}+INIT`] : [type];
        }),
    );
}

/** Types that no PostgreSQL 18 writes, with the reason; paths are below src/backend of its sources. */
export const UNPRODUCIBLE: ReadonlyMap<string, string> = new Map([
  [
    'XLOG/NOOP',
    'xlog_redo() in access/transam/xlog.c accepts it, but no call of XLogInsert() names XLOG_NOOP. Without effect by definition.',
  ],
  [
    'Heap/HOT_UPDATE+INIT',
    'log_heap_update() in access/heap/heapam.c sets the bit only when the new row is the only one on its page; a HOT update has the old row on the same page.',
  ],
]);

/** How a type is checked that was never compared with an image. */
export interface Proof {
  /**
   * files: its results are compared with the stopped server's files. image: the record is nothing but the page. none: it changes nothing that
   * a volume keeps.
   */
  readonly kind: 'files' | 'image' | 'none';
  readonly what: string;
}

const files = (what: string): Proof => ({ kind: 'files', what });
const image: Proof = { kind: 'image', what: 'relation files' };
const none = (what: string): Proof => ({ kind: 'none', what });

/** By type, else by resource manager. */
const PROOFS: Readonly<Record<string, Proof>> = {
  XLOG: files('pg_control'),
  'XLOG/SWITCH': none('the reader goes on with the next segment'),
  'XLOG/BACKUP_END': none('for recovery from a base backup'),
  'XLOG/RESTORE_POINT': none('for recovery to stop at'),
  'XLOG/FPI': image,
  'XLOG/FPI_FOR_HINT': image,
  'XLOG/OVERWRITE_CONTRECORD': files('pg_control, and all that follows the torn record'),
  Transaction: files('pg_xact, pg_commit_ts, pg_twophase, replication origins, dropped relations'),
  'Transaction/ASSIGNMENT': files('nextXid in pg_control'),
  'Transaction/INVALIDATION': none('for logical decoding'),
  Storage: files('relations and their sizes'),
  CLOG: files('pg_xact'),
  Database: files('databases and their relations'),
  Tablespace: files('tablespaces'),
  MultiXact: files('pg_multixact'),
  RelMap: files('pg_filenode.map'),
  Standby: none('for hot standbys'),
  'Standby/RUNNING_XACTS': files('nextXid in pg_control'),
  'Heap/TRUNCATE': none('for logical decoding'),
  'Heap2/REWRITE': none('for logical decoding'),
  'Heap2/NEW_CID': none('for logical decoding'),
  'Btree/REUSE_PAGE': none('for hot standbys'),
  'Gist/PAGE_REUSE': none('for hot standbys'),
  'Gist/ASSIGN_LSN': none('takes up an LSN, only under wal_level = minimal'),
  'Hash/SPLIT_PAGE': image,
  'Gin/VACUUM_PAGE': image,
  CommitTs: files('pg_commit_ts'),
  ReplicationOrigin: files('replication origins'),
  LogicalMessage: none('for logical decoding; for files of the volume see test/engine/control/live.test.ts'),
};

/** What proves a type that was never compared with an image; null if nothing is known to. */
export function proofOf(type: string): Proof | null {
  return PROOFS[type] ?? PROOFS[type.slice(0, type.indexOf('/'))] ?? null;
}
