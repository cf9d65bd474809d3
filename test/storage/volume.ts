/** A volume's beginning and its WAL from a real PostgreSQL, storage nodes to feed it to, and a small writer. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { promises as fs, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pino } from 'pino';
import type { Lsn } from '../../src/engine/lsn.js';
import { BLCKSZ } from '../../src/engine/page/constants.js';
import { QuorumConfig, WriterCore } from '../../src/engine/quorum/index.js';
import { segmentFileName } from '../../src/engine/wal/segments.js';
import { WalStreamDecoder } from '../../src/engine/wal/stream.js';
import { StorageClient, type Endpoint } from '../../src/net/storage-client.js';
import type { Role } from '../../src/net/node-status.js';
import { storageConfig, type StorageConfigInput } from '../../src/storage/config.js';
import { createNode } from '../../src/storage/create-node.js';
import { StorageDaemon } from '../../src/storage/daemon.js';
import { openSourceCluster } from '../../src/storage/import.js';
import { permanentRelations, type ComparedRelation } from '../helpers/redo-files.js';
import { PageMap } from '../helpers/redo-pages.js';
import { startPlainPostgres } from '../helpers/plain-postgres.js';

const WAL_SEGMENT = 16 * 1024 * 1024;
const VOLUME_ID = 'test-volume';

/** What PostgreSQL wrote between two clean stops, and the files that it ended with. */
export interface Recording {
  importLsn: Lsn;
  end: Lsn;
  /** WAL from importLsn to end. */
  wal: Buffer;
  systemId: bigint;
  /** Ends of all records, ascending; the last is `end`. */
  recordEnds: Lsn[];
  lastRecordLsn: Lsn;
  relations: ComparedRelation[];
  files: PageMap;
}

export interface TestNode {
  id: string;
  dir: string;
  endpoint: Endpoint;
  /** In this process, or in one of its own that can be killed. */
  daemon: StorageDaemon | null;
  process: ChildProcess | null;
}

/** Makes the node folders of a new volume, then lets PostgreSQL write the WAL that tests feed to them. */
export class TestVolume {
  readonly secret = randomBytes(32).toString('hex');
  readonly nodes: TestNode[] = [];
  recording!: Recording;
  private readonly clients: StorageClient[] = [];

  private constructor(readonly root: string) {}

  static async create(nodeIds: string[], workload: readonly string[]): Promise<TestVolume> {
    const volume = new TestVolume(await fs.mkdtemp(path.join(os.tmpdir(), 'oa-storage-')));
    const pg = await startPlainPostgres({
      settings: { wal_level: 'replica', full_page_writes: 'off', autovacuum: 'off', wal_keep_size: '1GB' },
    });
    try {
      writeFileSync(path.join(volume.root, 'secret'), volume.secret, { mode: 0o600 });
      await pg.stop();
      const source = await openSourceCluster(pg.dataDir);
      for (const id of nodeIds) {
        const dir = path.join(volume.root, id);
        await createNode({ dir, nodeId: id, volumeId: VOLUME_ID }, source);
        const port = await freePort();
        volume.nodes.push({ id, dir, endpoint: { host: '127.0.0.1', port }, daemon: null, process: null });
      }
      await pg.start();
      for (const statement of workload) await pg.sql(statement);
      const relations = await permanentRelations(pg, ['postgres']);
      await pg.stop();
      const { lsn: end } = await openSourceCluster(pg.dataDir);
      const wal = await readWal(pg.dataDir, source.lsn, end);
      const systemId = BigInt(source.control.systemIdentifier);
      const decoder = new WalStreamDecoder({ startLsn: source.lsn, segmentSize: WAL_SEGMENT, systemId });
      decoder.push(wal);
      const recordEnds: Lsn[] = [];
      for (let rec = decoder.next(); rec; rec = decoder.next()) recordEnds.push(rec.endLsn);
      volume.recording = {
        importLsn: source.lsn,
        end,
        wal,
        systemId,
        recordEnds,
        lastRecordLsn: decoder.lastRecordLsn,
        relations,
        files: await PageMap.fromDataDir(pg.dataDir),
      };
      return volume;
    } catch (err) {
      await volume.destroy();
      throw err;
    } finally {
      await pg.destroy();
    }
  }

  node(id: string): TestNode {
    return this.nodes.find((node) => node.id === id)!;
  }

  config(id: string): StorageConfigInput {
    const { dir, endpoint } = this.node(id);
    return {
      volumeId: VOLUME_ID,
      nodeId: id,
      dir,
      ...endpoint,
      secretFile: path.join(this.root, 'secret'),
      peers: this.nodes.filter((peer) => peer.id !== id).map((peer) => ({ id: peer.id, ...peer.endpoint })),
      peerPollMs: 100,
      readWaitMs: 2000,
      logLevel: 'silent',
    };
  }

  async start(id: string, overrides: Partial<StorageConfigInput> = {}): Promise<StorageDaemon> {
    const node = this.node(id);
    const config = storageConfig({ ...this.config(id), ...overrides });
    node.daemon = await StorageDaemon.start(config, pino({ level: config.logLevel }));
    return node.daemon;
  }

  async stop(id: string): Promise<void> {
    const node = this.node(id);
    await node.daemon?.stop();
    node.daemon = null;
  }

  /** The node as a process of its own, as in production. Resolves when it serves. */
  async spawn(id: string, overrides: Partial<StorageConfigInput> = {}): Promise<ChildProcess> {
    const node = this.node(id);
    const file = path.join(this.root, `${id}.json`);
    await fs.writeFile(file, JSON.stringify({ ...this.config(id), ...overrides }));
    node.process = spawnNode(file);
    const [ready] = (await once(node.process, 'message')) as [{ port: number }];
    node.endpoint.port = ready.port;
    return node.process;
  }

  async kill(id: string, signal: NodeJS.Signals): Promise<number | null> {
    const child = this.node(id).process!;
    const exited = once(child, 'exit') as Promise<[number | null]>;
    child.kill(signal);
    this.node(id).process = null;
    return (await exited)[0];
  }

  async client(id: string, role: Role = 'tool'): Promise<StorageClient> {
    const client = await StorageClient.connect(this.node(id).endpoint, {
      secret: Buffer.from(this.secret),
      volumeId: VOLUME_ID,
      role,
      clientId: 'test',
      nodeId: id,
    });
    this.clients.push(client);
    return client;
  }

  /** Polls a node's status until `condition` holds. */
  async until(
    client: StorageClient,
    what: string,
    condition: (status: Awaited<ReturnType<StorageClient['status']>>) => boolean,
  ): Promise<void> {
    for (let tries = 0; ; tries++) {
      const status = await client.status();
      if (condition(status)) return;
      if (tries === 2400)
        throw new Error(`${what}: not within two minutes; status ${JSON.stringify(status)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** All pages that the node serves at `at`, by its own manifest. */
  async pagesOf(client: StorageClient, at: Lsn): Promise<PageMap> {
    const map = new PageMap();
    const { relations } = await client.manifest({ lsn: at });
    for (const rel of relations) {
      const pages = map.fork(rel, rel.fork);
      for (let blkno = 0; blkno < rel.nblocks; blkno += 100) {
        const count = Math.min(100, rel.nblocks - blkno);
        const bytes = await client.getPages({ ...rel, blkno, count, lsn: at });
        for (let i = 0; i < count; i++) pages.push(bytes.subarray(i * BLCKSZ, (i + 1) * BLCKSZ));
      }
    }
    return map;
  }

  async destroy(): Promise<void> {
    for (const client of this.clients) client.destroy();
    for (const node of this.nodes) {
      if (node.process) await this.kill(node.id, 'SIGKILL');
      await this.stop(node.id);
    }
    await fs.rm(this.root, { recursive: true, force: true });
  }
}

/** Starts the node's entry point: as users' computers do, or straight from the sources. */
export function spawnNode(configFile: string, stderr: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  const root = path.join(import.meta.dirname, '../..');
  const entry =
    process.env['AURORA_COMPILED_DAEMONS'] === '1'
      ? [path.join(root, 'bin/daemon.js'), 'storage']
      : ['--import', 'tsx', path.join(root, 'src/storage/main.ts')];
  return spawn(process.execPath, [...entry, configFile], {
    stdio: ['ignore', 'ignore', stderr, 'ipc'],
  });
}

/** A writer that holds the whole WAL in memory and sends it where WriterCore says. */
export class MiniWriter {
  readonly core: WriterCore;
  readonly clients = new Map<string, StorageClient>();
  private log: Buffer = Buffer.alloc(0);
  private readonly changed = new Set<() => void>();

  constructor(
    private readonly volume: TestVolume,
    epoch: number,
    readonly writerId: string,
  ) {
    const voters = volume.nodes.map((node) => node.id);
    this.core = new WriterCore({
      config: new QuorumConfig({ voters, writeQuorum: 2, readQuorum: 2 }),
      writerId,
      epoch,
    });
  }

  /** Connects to a node, and brings it into the epoch if there is one already. */
  async join(id: string): Promise<void> {
    const client = await this.volume.client(id, 'compute');
    this.clients.set(id, client);
    client.on('ack', (answer) => this.feed(id, () => this.core.onAppendAnswer(id, answer)));
    client.on('refused', (answer) => this.feed(id, () => this.core.onAppendAnswer(id, answer)));
    client.on('gap', (answer) => this.feed(id, () => this.core.onAppendAnswer(id, answer)));
    client.on('notStarted', (answer) => this.feed(id, () => this.core.onAppendAnswer(id, answer)));
    client.on('close', () => this.clients.delete(id));
    if (this.core.phase === 'leading') {
      this.core.reconnected(id);
      await this.begin(id);
    } else {
      this.core.onPromiseAnswer(id, await client.promise(this.core.promiseRequest()));
    }
  }

  /** Elected: starts the epoch at the end of the donor's last complete record. Returns that LSN. */
  async lead(): Promise<Lsn> {
    const donor = this.core.donor!;
    const { recordEnd } = await this.clients.get(donor.nodeId)!.logTail(undefined, this.core.epoch);
    this.core.lead(recordEnd);
    const { importLsn, wal } = this.volume.recording;
    this.log = wal.subarray(0, recordEnd - importLsn);
    await Promise.all([...this.clients.keys()].map((id) => this.begin(id)));
    return recordEnd;
  }

  /** Adds the log up to `end`, cut in pieces as PostgreSQL's stream is. */
  write(
    end: Lsn,
    bytes = this.volume.recording.wal.subarray(0, end - this.volume.recording.importLsn),
  ): void {
    this.log = bytes;
    this.core.appended(end, end);
    for (const id of this.clients.keys()) this.pump(id);
  }

  async committed(at: Lsn): Promise<void> {
    await this.when(() => this.core.commitLsn >= at);
    this.heartbeat();
  }

  /** Tells all nodes the commit LSN; their answers say in which life they are. */
  heartbeat(): void {
    for (const id of this.clients.keys()) this.pump(id, true);
  }

  when(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.changed.delete(look);
        resolve();
      };
      this.changed.add(look);
      look();
    });
  }

  close(): void {
    for (const client of this.clients.values()) client.close();
  }

  private async begin(id: string): Promise<void> {
    const answer = await this.clients.get(id)!.startEpoch(this.core.startEpoch(id)!);
    this.feed(id, () => this.core.onStartEpochAnswer(id, answer));
  }

  private feed(id: string, step: () => void): void {
    step();
    this.pump(id);
    for (const look of [...this.changed]) look();
  }

  private pump(id: string, heartbeat = false): void {
    for (;;) {
      const next = this.core.nextAppend(id, 100_000);
      const client = this.clients.get(id);
      if (!next || !client || (next.begin === next.end && !heartbeat)) return;
      const base = this.volume.recording.importLsn;
      client.append({ ...next, bytes: this.log.subarray(next.begin - base, next.end - base) });
      if (next.begin === next.end) return;
    }
  }
}

async function readWal(dataDir: string, from: Lsn, to: Lsn): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let at: number = from; at < to;) {
    const segment = Math.floor(at / WAL_SEGMENT);
    const file = path.join(dataDir, 'pg_wal', segmentFileName(1, segment, WAL_SEGMENT));
    const bytes = await fs.readFile(file);
    const end = Math.min(to, (segment + 1) * WAL_SEGMENT);
    parts.push(bytes.subarray(at % WAL_SEGMENT, end - segment * WAL_SEGMENT));
    at = end;
  }
  return Buffer.concat(parts);
}

/** A port that is free now, for nodes that must be found again after a restart. */
async function freePort(): Promise<number> {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
