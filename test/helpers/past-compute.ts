/** A PostgreSQL started from a page store as of any LSN in its log: the way a compute starts, without a cluster around it. */
import { promises as fs } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import type { Lsn } from '../../src/engine/lsn.js';
import type { PageStore } from '../../src/engine/pages/store.js';
import type { TermDirs } from '../../src/compute/cluster-dirs.js';
import { PageAgent, type PageSource } from '../../src/compute/page-agent.js';
import { ensurePagein, pageinEnvironment } from '../../src/compute/pagein-build.js';
import { parseDataPath } from '../../src/compute/page-path.js';
import { giveTo, type PgInstall } from '../../src/compute/postgres.js';
import { MapFiles, spreadFolders } from '../../src/compute/remote-files.js';
import { makeStartPoint, startSegments, type ReadLog } from '../../src/compute/start-point.js';
import { PostgresProcess } from '../../src/compute/supervisor.js';
import { synthesizeDataDir } from '../../src/compute/synthesize.js';
import { libraryDir } from './cold-postgres.js';

export interface PastComputeOptions {
  readonly install: PgInstall;
  readonly store: PageStore;
  readonly readLog: ReadLog;
  /** A record's end at which a batch was ingested, so that the store has the control state of that very place. */
  readonly lsn: Lsn;
  readonly settings?: Record<string, string>;
}

export class PastCompute {
  readonly port = 5432;

  private constructor(
    private readonly root: string,
    private readonly agent: PageAgent,
    private readonly postgres: PostgresProcess,
  ) {}

  static async start(options: PastComputeOptions): Promise<PastCompute> {
    const { install, store, lsn } = options;
    const parent = path.join(libraryDir(), 'past');
    await fs.mkdir(parent, { recursive: true });
    await spreadFolders(parent);
    const root = await fs.mkdtemp(path.join(parent, 'oa-'));
    const dirs = foldersIn(root);
    const agent = new PageAgent(new StoreSource(store, lsn), {
      socketPath: dirs.agentSocket,
      owner: install.runAs,
      maps: new MapFiles(dirs.maps),
    });
    try {
      await giveTo(install, root);
      await makeDataDir(options, dirs);
      await agent.start();
      const postgres = await PostgresProcess.start({
        install,
        dataDir: dirs.data,
        settings: {
          listen_addresses: '',
          unix_socket_directories: root,
          port: '5432',
          fsync: 'off',
          full_page_writes: 'off',
          autovacuum: 'off',
          ...options.settings,
        },
        env: pageinEnvironment({
          library: await ensurePagein(libraryDir()),
          dataDir: dirs.data,
          mapsDir: dirs.maps,
          agentSocket: dirs.agentSocket,
          timeoutMs: 30_000,
        }),
        logFile: dirs.postgresLog,
      });
      return new PastCompute(root, agent, postgres);
    } catch (err) {
      await agent.close();
      await fs.rm(root, { recursive: true, force: true });
      throw err;
    }
  }

  async client(database = 'postgres'): Promise<pg.Client> {
    const client = new pg.Client({ host: this.root, port: this.port, user: 'postgres', database });
    client.on('error', () => undefined); // ended by destroy()
    await client.connect();
    return client;
  }

  async destroy(): Promise<void> {
    await this.postgres.kill();
    await this.agent.close();
    await fs.rm(this.root, { recursive: true, force: true });
  }
}

class StoreSource implements PageSource {
  constructor(
    private readonly store: PageStore,
    private readonly lsn: Lsn,
  ) {}

  fetch(relPath: string, firstBlock: number, count: number): Promise<Buffer> {
    const file = parseDataPath(relPath);
    const at = file.firstBlock + firstBlock;
    if (file.kind === 'relation')
      return Promise.resolve(this.store.getPages(file.rel, file.fork, at, count, this.lsn));
    const pages = Buffer.alloc(count * BLCKSZ);
    for (let i = 0; i < count; i++)
      this.store.getSlruPage(file.slru, at + i, this.lsn)?.copy(pages, i * BLCKSZ);
    return Promise.resolve(pages);
  }

  putFile(): Promise<void> {
    return Promise.resolve();
  }
}

function foldersIn(root: string): TermDirs {
  return {
    root,
    current: path.join(root, 'pgdata'),
    data: path.join(root, 'data'),
    walGate: path.join(root, 'walgate'),
    maps: path.join(root, 'maps'),
    managed: path.join(root, 'managed'),
    agentSocket: path.join(root, 'agent'),
    postgresLog: path.join(root, 'postgresql.log'),
  };
}

async function makeDataDir(options: PastComputeOptions, dirs: TermDirs): Promise<void> {
  const { install, store, lsn, readLog } = options;
  const snapshot = store.controlSnapshot(lsn);
  if (snapshot?.lsn !== lsn) throw new Error('no control state at this LSN: end an ingest batch there');
  const point = makeStartPoint(snapshot.state, lsn, Math.floor(Date.now() / 1000));
  await synthesizeDataDir({
    dirs,
    runAs: install.runAs,
    manifest: store.manifest(lsn),
    state: point.state,
    controlFile: point.controlFile,
    walSegments: await startSegments(readLog, point, lsn),
    keepStatistics: false,
    readFork: (fork) => Promise.resolve(store.getPages(fork, fork.fork, 0, fork.nblocks, lsn)),
  });
}
