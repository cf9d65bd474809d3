import { createHash } from 'node:crypto';
import { promises as fs, watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import type { Logger } from 'pino';
import { DbError, errorMessage } from '../engine/errors.js';
import { encodeFileMessage, FILE_MESSAGE_PREFIX } from '../engine/pages/effects/files.js';
import { CONFIG_FILES } from './volume-files.js';

const DEBOUNCE_MS = 200;
/** Settings files are small; something larger under their name is a mistake. */
export const CONFIG_FILE_BYTES_MAX = 16 * 1024 * 1024;

export interface ConfigFilesOptions {
  dataDir: string;
  socketDir: string;
  port: number;
  superuser: string;
  secret: Buffer;
  log: Logger;
}

/**
 * Keeps the settings files of the data directory in the volume: each change is written into the log by PostgreSQL itself, in a
 * transaction whose commit waits for the write quorum. ALTER SYSTEM comes through the page agent before it takes effect;
 * files that a person edits are noticed by watching the directory, on reload, and before a stop.
 */
export class ConfigFiles {
  private readonly stored = new Map<string, string>();
  private client: pg.Client | null = null;
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
    const client = await this.session();
    const { rows } = await client.query<{ file: string; line: number; error: string }>(
      `select sourcefile as file, sourceline as line, error from pg_file_settings
         where error is not null and error <> 'setting could not be applied'
       union all select file_name, line_number, error from pg_hba_file_rules where error is not null
       union all select file_name, line_number, error from pg_ident_file_mappings where error is not null`,
    );
    const first = rows[0];
    if (first) {
      throw new DbError('COMPUTE_BAD_SETTINGS', `${first.file}, line ${first.line}: ${first.error}`, {
        reaction: 'usage',
        hint: 'The volume keeps the last good version of the file. Correct it, then: aurora reload',
      });
    }
  }

  /** Returns once the file is durable in the volume. Throws COMPUTE_STORE_FILE. */
  async store(name: string, content: Buffer): Promise<void> {
    const work = this.queue.then(() => this.storeNow(name, content));
    this.queue = work.catch(() => undefined); // the caller hears of it; the next one starts anew
    return work;
  }

  /** Ends the watching and our session, which a smart shutdown would wait for. */
  async close(): Promise<void> {
    this.watcher?.close();
    if (this.timer) clearTimeout(this.timer);
    await this.queue;
    const client = this.client;
    this.client = null;
    if (client)
      await client
        .end()
        .catch((err: unknown) => this.options.log.debug({ err: errorMessage(err) }, 'session already gone'));
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
      const client = await this.session();
      await client.query('select pg_logical_emit_message(true, $1, $2::bytea)', [
        FILE_MESSAGE_PREFIX,
        encodeFileMessage(this.options.secret, name, content),
      ]);
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

  private async session(): Promise<pg.Client> {
    if (this.client) return this.client;
    const { socketDir, port, superuser } = this.options;
    const client = new pg.Client({
      host: socketDir,
      port,
      user: superuser,
      database: 'template1',
      application_name: 'aurora',
      // These files must be as durable as any commit, whatever the database's own default is.
      options: '-c synchronous_commit=on -c statement_timeout=0 -c idle_session_timeout=0',
    });
    client.on('error', () => {
      this.client = null;
    });
    await client.connect();
    this.client = client;
    return client;
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
