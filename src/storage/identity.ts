import { existsSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { DbError, errorMessage } from '../engine/errors.js';
import { lsn, type Lsn } from '../engine/lsn.js';
import type { IdentityRecord } from '../engine/quorum/index.js';

export const IDENTITY_FILE = 'identity.db';
const FORMAT_VERSION = 1;

/** Values that never change after the node was made. */
export interface NodeBirth {
  nodeId: string;
  volumeId: string;
  /** First LSN of the log and LSN of the imported pages. */
  importLsn: Lsn;
}

/**
 * What a node must not forget: who it is, and what it has promised to whom. SQLite with synchronous=FULL: each write is on disk
 * when the call returns. It lives apart from log and pages, so that the loss of any of the three is noticed by the others.
 */
export class Identity {
  private readonly get: Database.Statement<[string], { value: string }>;
  private readonly put: Database.Statement<[string, string]>;

  private constructor(
    private readonly db: Database.Database,
    readonly birth: NodeBirth,
    /** Counts opens: 1 at the first start. */
    readonly generation: number,
  ) {
    this.get = db.prepare('SELECT value FROM identity WHERE key = ?');
    this.put = db.prepare(
      'INSERT INTO identity VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
    );
  }

  /**
   * Makes the identity of a new node, or (amnesia) a new one for a node that lost its own. Throws NODE_EXISTS when there is one.
   */
  static create(dir: string, birth: NodeBirth, amnesia: boolean): void {
    const file = path.join(dir, IDENTITY_FILE);
    if (existsSync(file))
      throw new DbError('NODE_EXISTS', `${dir} already holds a storage node`, { reaction: 'usage' });
    const db = openDatabase(file);
    try {
      db.transaction(() => {
        db.exec('CREATE TABLE identity (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID');
        const put = db.prepare('INSERT INTO identity VALUES (?, ?)');
        const record: IdentityRecord = {
          promisedEpoch: 0,
          promisedTo: '',
          amnesia,
          floor: { epoch: amnesia ? -1 : 0, scl: amnesia ? lsn(0) : birth.importLsn },
        };
        for (const [key, value] of Object.entries({
          formatVersion: FORMAT_VERSION,
          birth,
          generation: 0,
          record,
          commitLsn: amnesia ? 0 : birth.importLsn,
        }))
          put.run(key, JSON.stringify(value));
      })();
    } finally {
      db.close();
    }
  }

  /**
   * Opens and counts the start; null when there is none. Throws NODE_IDENTITY when it is damaged,
   * NODE_WRONG_IDENTITY when it is another node's, NODE_FORMAT for another release's.
   */
  static open(dir: string, expected: { nodeId: string; volumeId: string }): Identity | null {
    const file = path.join(dir, IDENTITY_FILE);
    if (!existsSync(file)) return null;
    let db: Database.Database;
    let birth: NodeBirth;
    let generation: number;
    let format: number;
    try {
      db = openDatabase(file);
      const read = <T>(key: string): T => {
        const row = db
          .prepare<[string], { value: string }>('SELECT value FROM identity WHERE key = ?')
          .get(key);
        if (!row) throw new DbError('NODE_IDENTITY', `no ${key} in ${file}`);
        return JSON.parse(row.value) as T;
      };
      format = read<number>('formatVersion');
      birth = read<NodeBirth>('birth');
      generation = read<number>('generation') + 1;
    } catch (cause) {
      throw new DbError('NODE_IDENTITY', `${file} is damaged: ${errorMessage(cause)}`, {
        reaction: 'corrupt',
        cause,
        hint: 'Move the file away: the node then starts as a learner until it is rebuilt.',
      });
    }
    if (format !== FORMAT_VERSION) {
      db.close();
      throw new DbError('NODE_FORMAT', `${file} has format ${format}, this release reads ${FORMAT_VERSION}`, {
        reaction: 'usage',
      });
    }
    if (birth.nodeId !== expected.nodeId || birth.volumeId !== expected.volumeId) {
      db.close();
      throw new DbError(
        'NODE_WRONG_IDENTITY',
        `${dir} belongs to node ${birth.nodeId} of volume ${birth.volumeId}, not to node ${expected.nodeId} of volume ${expected.volumeId}`,
        { reaction: 'usage' },
      );
    }
    const identity = new Identity(db, birth, generation);
    try {
      db.transaction(() => {
        // Every page changes once, so that the journal has room for any change to come.
        db.exec('UPDATE identity SET value = value');
        identity.write('generation', generation);
      })();
    } catch (err) {
      db.close();
      throw err;
    }
    return identity;
  }

  record(): IdentityRecord {
    return this.read<IdentityRecord>('record');
  }

  /** Durable on return. `commitLsn` is a lower bound that spares the next start to ask for it. */
  save(record: IdentityRecord, commitLsn: Lsn): void {
    this.db.transaction(() => {
      this.write('record', record);
      this.write('commitLsn', commitLsn);
    })();
  }

  get commitLsn(): Lsn {
    return lsn(this.read<number>('commitLsn'));
  }

  /** The pages of this node were given up because they were damaged, while log and promises are whole: their absence then proves nothing. */
  get pagesGivenUp(): boolean {
    return this.get.get('pagesGivenUp') !== undefined;
  }

  /** Durable on return. */
  notePagesGivenUp(givenUp: boolean): void {
    if (givenUp) this.write('pagesGivenUp', true);
    else this.db.prepare("DELETE FROM identity WHERE key = 'pagesGivenUp'").run();
  }

  close(): void {
    this.db.close();
  }

  private read<T>(key: string): T {
    const row = this.get.get(key);
    if (!row) throw new DbError('NODE_IDENTITY', `${IDENTITY_FILE}: no ${key}`, { reaction: 'corrupt' });
    return JSON.parse(row.value) as T;
  }

  private write(key: string, value: unknown): void {
    this.put.run(key, JSON.stringify(value));
  }
}

function openDatabase(file: string): Database.Database {
  const db = new Database(file);
  // The journal keeps its room between writes: promises must be possible on a disk that others have filled.
  db.pragma('journal_mode = PERSIST');
  db.pragma('synchronous = FULL');
  return db;
}
