import { createHash } from 'node:crypto';
import { promises as fs, watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { encodeFileMessage, FILE_MESSAGE_PREFIX } from '../engine/pages/effects/files.js';
import { sessionOptions, UNHINDERED } from './session-settings.js';
import { CONFIG_FILES } from './volume-files.js';

const DEBOUNCE_MS = 200;
const CONNECT_MS = 30_000;
/** Settings files are small; something larger under their name is a mistake. */
export const CONFIG_FILE_BYTES_MAX = 16 * 1024 * 1024;
/**
 * Where our sessions go, in this order: every cluster begins with both, and a user may drop or close either. template1 comes last,
 * because a CREATE DATABASE that copies it fails while anybody is connected to it.
 */
const DATABASES = ['postgres', 'template1'];
/** What a role or database may have been given, and what of it must not reach our sessions. */
const SESSION_SETTINGS = [
  ...UNHINDERED,
  // These files must be as durable as any commit.
  'synchronous_commit=on',
  'event_triggers=off',
  // Whoever can write a file's signed content into the log again can bring the file back.
  'log_statement=none',
  'log_min_duration_statement=-1',
  'log_min_error_statement=panic',
  'log_parameter_max_length=0',
];
/** SQLSTATEs of a database that is not there (invalid_catalog_name) or takes no connections (object_not_in_prerequisite_state). */
const NOT_THIS_DATABASE = new Set(['3D000', '55000']);

export interface ConfigFilesOptions {
  dataDir: string;
  socketDir: string;
  port: number;
  superuser: string;
  secret: Buffer;
  log: Logger;
  /** Throws COMPUTE_BAD_SETTINGS if PostgreSQL could not start with the files in the data directory. */
  check(): Promise<void>;
}

/**
 * Keeps the settings files of the data directory in the volume: each change is written into the log by PostgreSQL itself, in a
 * transaction whose commit waits for the write quorum. ALTER SYSTEM comes through the page agent before it takes effect;
 * files that a person edits are noticed by watching the directory, on reload, and before a stop.
 */
export class ConfigFiles {
  private readonly stored = new Map<string, string>();
  /** Open only while they are used: they would be in the way of DROP DATABASE and of a smart shutdown. */
  private readonly sessions = new Set<pg.Client>();
  private closed = false;
  private watcher: FSWatcher | null = null;
  private timer: NodeJS.Timeout | null = null;
  private queue: Promise<void> = Promise.resolve();

  constructor(private readonly options: ConfigFilesOptions) {}

  /** `known`: the files as they came from the volume. */
  start(known: readonly { name: string; content: Buffer }[]): void {
    for (const { name, content } of known) this.stored.set(name, digest(content));
    this.watcher = watch(this.options.dataDir, (_event, name) => {
      if (name === null || !(CONFIG_FILES as readonly string[]).includes(name) || this.timer) return;
      this.timer = setTimeout(() => {
        this.timer = null;
        this.sync().catch((err: unknown) =>
          this.options.log.error(
            { err: errorMessage(err) },
            'a changed settings file could not be stored in the volume',
          ),
        );
      }, DEBOUNCE_MS);
    });
    this.watcher.on('error', (err) =>
      this.options.log.warn(
        { err: err.message },
        'settings files are not watched any more; aurora reload stores them',
      ),
    );
  }

  /**
   * Stores every settings file that differs from what the volume has and that PostgreSQL could start with: a file with an error in
   * it would keep every later data directory from starting. Throws COMPUTE_BAD_SETTINGS, COMPUTE_STORE_FILE.
   */
  async sync(): Promise<void> {
    const changed: { name: string; content: Buffer }[] = [];
    for (const name of CONFIG_FILES) {
      const content = await readIfThere(path.join(this.options.dataDir, name));
      if (content && this.stored.get(name) !== digest(content)) changed.push({ name, content });
    }
    if (changed.length === 0) return;
    await this.refuseErrors();
    for (const { name, content } of changed) await this.store(name, content);
  }

  /** Asks PostgreSQL itself what it thinks of the files as they are on disk now. */
  private async refuseErrors(): Promise<void> {
    await this.options.check();
    const { rows } = await this.inSession((client) =>
      client.query<{ file: string; line: number; error: string | null }>(
        `select file_name as file, line_number as line, error from pg_catalog.pg_hba_file_rules
         union all select file_name, line_number, error from pg_catalog.pg_ident_file_mappings`,
      ),
    );
    const bad = rows.find((row) => row.error !== null) ?? rows.find((row) => this.isLost(row.file));
    if (bad) {
      const why = bad.error ?? 'the volume does not keep this file; give its absolute name outside of here';
      throw new DbError('COMPUTE_BAD_SETTINGS', `${bad.file}, line ${bad.line}: ${why}`, {
        reaction: 'usage',
        hint: 'The volume keeps the last good version of the file. Correct it, then: aurora reload',
      });
    }
  }

  /** An included file that the next data directory will not have. */
  private isLost(file: string): boolean {
    const name = path.relative(this.options.dataDir, file);
    return !name.startsWith('..') && !(CONFIG_FILES as readonly string[]).includes(name);
  }

  /** Returns once the file is durable in the volume. Throws COMPUTE_STORE_FILE. */
  async store(name: string, content: Buffer): Promise<void> {
    const work = this.queue.then(() => this.storeNow(name, content));
    this.queue = work.catch(() => undefined); // the caller hears of it; the next one starts anew
    return work;
  }

  /** Makes PostgreSQL write a checkpoint: a replica that starts needs one that is not too old. */
  async checkpoint(): Promise<void> {
    await this.inSession((client) => client.query('checkpoint'));
  }

  /** Ends the watching, and our sessions with whatever they wait for. Safe to repeat. */
  async close(): Promise<void> {
    this.closed = true;
    this.watcher?.close();
    if (this.timer) clearTimeout(this.timer);
    await Promise.all([...this.sessions].map((client) => this.endSession(client)));
    await this.queue;
  }

  private async storeNow(name: string, content: Buffer): Promise<void> {
    const key = digest(content);
    if (this.stored.get(name) === key) return;
    if (content.length > CONFIG_FILE_BYTES_MAX)
      throw new DbError(
        'COMPUTE_STORE_FILE',
        `"${name}" has ${content.length} bytes; a settings file may have ${CONFIG_FILE_BYTES_MAX}`,
      );
    try {
      const message = [FILE_MESSAGE_PREFIX, encodeFileMessage(this.options.secret, name, content)];
      await this.inSession((client) =>
        client.query('select pg_catalog.pg_logical_emit_message(true, $1, $2::pg_catalog.bytea)', message),
      );
    } catch (cause) {
      throw new DbError(
        'COMPUTE_STORE_FILE',
        `could not store "${name}" in the volume: ${errorMessage(cause)}`,
        { reaction: 'retry', cause },
      );
    }
    this.stored.set(name, key);
    this.options.log.info({ file: name, bytes: content.length }, 'settings file stored in the volume');
  }

  private async inSession<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.session();
    try {
      return await use(client);
    } finally {
      await this.endSession(client);
    }
  }

  private async session(): Promise<pg.Client> {
    const { socketDir, port, superuser } = this.options;
    let last: unknown = new DbError('COMPUTE_STOPPED', 'the compute is stopping');
    for (const database of DATABASES) {
      if (this.closed) break;
      const client = new pg.Client({
        host: socketDir,
        port,
        user: superuser,
        database,
        application_name: 'aurora',
        connectionTimeoutMillis: CONNECT_MS,
        options: sessionOptions(SESSION_SETTINGS),
      });
      client.on('error', (err) =>
        this.options.log.debug({ err: errorMessage(err) }, 'the session for settings files broke off'),
      );
      this.sessions.add(client);
      try {
        await client.connect();
        return client;
      } catch (err) {
        await this.endSession(client);
        last = err;
        if (!NOT_THIS_DATABASE.has((err as { code?: string }).code ?? '')) break;
      }
    }
    throw last;
  }

  private async endSession(client: pg.Client): Promise<void> {
    this.sessions.delete(client);
    await client
      .end()
      .catch((err: unknown) => this.options.log.debug({ err: errorMessage(err) }, 'session already gone'));
  }
}

function digest(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

async function readIfThere(file: string): Promise<Buffer | null> {
  try {
    return await fs.readFile(file);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw err;
  }
}
