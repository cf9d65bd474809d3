/** A PostgreSQL whose page files are all absent at first: a demand-paged copy of a cleanly stopped data directory. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { PageAgent, type PageAgentOptions } from '../../src/compute/page-agent.js';
import { ensurePagein, pageinEnvironment } from '../../src/compute/pagein-build.js';
import { credentials, giveTo, type PgInstall } from '../../src/compute/postgres.js';
import { MapFiles, RemoteFiles, spreadFolders } from '../../src/compute/remote-files.js';
import { FakePageSource } from './fake-page-source.js';

const PAGE_FILE =
  /^(?:(?:global|base\/\d+|pg_tblspc\/\d+\/PG_18_\d+\/\d+)\/\d+(?:_(?:fsm|vm|init))?(?:\.\d+)?|pg_xact\/[0-9A-F]+|pg_multixact\/\w+\/[0-9A-F]+)$/;
/** Not part of what a data directory must have: caches and leftovers of the running server. */
const LEFT_OUT = /(^|\/)(pg_internal\.init|postmaster\.(opts|pid)|pgsql_tmp.*)$/;

export interface ColdOptions {
  settings?: Record<string, string>;
  timeoutMs?: number;
  readAhead?: PageAgentOptions['readAhead'];
  /** Whom the postmaster takes for its parent; default: this process. */
  env?: Record<string, string>;
}

/** Removed at the end of a test run by the caller, with `destroy`. */
export class ColdPostgres {
  readonly port = 5432;
  log = '';
  child: ChildProcess | null = null;
  private readonly clients = new Set<pg.Client>();

  private constructor(
    readonly install: PgInstall,
    readonly root: string,
    readonly source: FakePageSource,
    /** Blocks that are in storage only at the start. */
    readonly remoteBlocks: number,
    private readonly options: ColdOptions,
    public agent: PageAgent,
  ) {}

  get dataDir(): string {
    return path.join(this.root, 'data');
  }

  get mapsDir(): string {
    return path.join(this.root, 'maps');
  }

  static async create(
    install: PgInstall,
    originalDir: string,
    options: ColdOptions = {},
  ): Promise<ColdPostgres> {
    const parent = path.join(libraryDir(), 'cold');
    await fs.mkdir(parent, { recursive: true });
    await spreadFolders(parent);
    const root = await fs.mkdtemp(path.join(parent, 'oa-'));
    await giveTo(install, root);
    const remoteBlocks = await copyCold(install, originalDir, root);
    const source = new FakePageSource(originalDir);
    const agent = newAgent(root, source, install, options);
    await agent.start();
    return new ColdPostgres(install, root, source, remoteBlocks, options, agent);
  }

  /** A new agent on the same socket, as after a restart of the daemon. */
  async restartAgent(): Promise<void> {
    await this.agent.close();
    this.agent = newAgent(this.root, this.source, this.install, this.options);
    await this.agent.start();
  }

  async environment(): Promise<Record<string, string>> {
    const env = pageinEnvironment({
      library: await ensurePagein(libraryDir()),
      dataDir: this.dataDir,
      mapsDir: this.mapsDir,
      agentSocket: path.join(this.root, 'agent'),
      timeoutMs: this.options.timeoutMs ?? 20_000,
    });
    return { ...env, ...this.options.env };
  }

  arguments(): string[] {
    const settings = {
      listen_addresses: '',
      unix_socket_directories: this.root,
      port: String(this.port),
      fsync: 'off',
      autovacuum: 'off',
      ...this.options.settings,
    };
    return ['-D', this.dataDir, ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`])];
  }

  async start(): Promise<void> {
    const child = spawn(path.join(this.install.bindir, 'postgres'), this.arguments(), {
      ...credentials(this.install),
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...(await this.environment()) },
    });
    this.child = child;
    await new Promise<void>((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        this.log += chunk.toString();
        if (this.log.includes('ready to accept connections')) resolve();
      });
      child.on('exit', (code) => reject(new Error(`postgres exited with ${code}:\n${this.log}`)));
    });
    child.on('exit', () => {
      if (this.child === child) this.child = null;
    });
  }

  async client(database = 'postgres'): Promise<pg.Client> {
    const c = new pg.Client({ host: this.root, port: this.port, user: 'postgres', database });
    c.on('error', () => this.clients.delete(c)); // the server going away is the tests' business
    await c.connect();
    this.clients.add(c);
    return c;
  }

  async sql(text: string, database = 'postgres'): Promise<Record<string, unknown>[]> {
    const c = await this.client(database);
    try {
      const result = (await c.query(text)) as pg.QueryResult | pg.QueryResult[];
      return (Array.isArray(result) ? result.at(-1)! : result).rows as Record<string, unknown>[];
    } finally {
      this.clients.delete(c);
      await c.end();
    }
  }

  async stop(): Promise<void> {
    const child = this.child;
    if (!child) return;
    await Promise.all([...this.clients].map((c) => c.end()));
    this.clients.clear();
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGQUIT');
    await gone;
  }

  async destroy(): Promise<void> {
    await this.stop();
    await this.agent.close();
    await fs.rm(this.root, { recursive: true, force: true });
  }
}

/** Compiled libraries are kept between runs, keyed by their source. */
export function libraryDir(): string {
  return path.join(os.tmpdir(), `openaurora-test-${process.getuid?.() ?? 0}`);
}

function newAgent(root: string, source: FakePageSource, install: PgInstall, options: ColdOptions): PageAgent {
  return new PageAgent(source, {
    socketPath: path.join(root, 'agent'),
    owner: install.runAs,
    maps: new MapFiles(path.join(root, 'maps')),
    readAhead: options.readAhead ?? {},
  });
}

async function copyCold(install: PgInstall, from: string, root: string): Promise<number> {
  const data = path.join(root, 'data');
  const remote = new RemoteFiles(data, path.join(root, 'maps'), install.runAs);
  let blocks = 0;
  const visit = async (rel: string): Promise<void> => {
    await fs.mkdir(path.join(data, rel), { recursive: true, mode: 0o700 });
    await giveTo(install, path.join(data, rel));
    for (const entry of await fs.readdir(path.join(from, rel), { withFileTypes: true })) {
      const name = rel === '' ? entry.name : `${rel}/${entry.name}`;
      if (LEFT_OUT.test(name)) continue;
      if (entry.isDirectory()) await visit(name);
      else if (PAGE_FILE.test(name)) {
        const nblocks = (await fs.stat(path.join(from, name))).size / BLCKSZ;
        remote.create(name, nblocks);
        blocks += nblocks;
      } else {
        await fs.copyFile(path.join(from, name), path.join(data, name));
        await giveTo(install, path.join(data, name));
      }
    }
  };
  await visit('');
  if (!existsSync(path.join(data, 'PG_VERSION'))) throw new Error(`${from} is not a data directory`);
  return blocks;
}
