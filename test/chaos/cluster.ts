/** A cluster whose network, disks and clocks can be broken: real daemons, with a proxy between every two and a fault library in each. */
import { existsSync, promises as fs, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { startDaemon } from '../../src/cluster/daemon-process.js';
import { daemonLog } from '../../src/cluster/layout.js';
import { computeDaemonName } from '../../src/cluster/start.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { withEnvironment } from '../helpers/storage-settings.js';
import { TestCluster } from '../helpers/cluster.js';
import { buildFaultIo, FaultIo } from './fault-io.js';
import { FaultNet, type Address } from './fault-net.js';

export const PRIMARY = 'primary';
const START_MS = 90_000;

export interface ChaosOptions {
  /** Of every storage node; see StorageConfig. */
  storageSettings?: Record<string, unknown>;
  /** Of PostgreSQL. */
  settings?: Record<string, string>;
}

export class ChaosCluster {
  readonly net = new FaultNet();
  private readonly io = new Map<string, FaultIo>();
  /** How each party reaches the storage nodes. */
  private readonly routes = new Map<string, Record<string, Address>>();

  private starting: Promise<unknown> = Promise.resolve();
  private destroyed: Promise<void> | null = null;

  private constructor(
    readonly base: TestCluster,
    private readonly options: ChaosOptions,
  ) {}

  static async start(options: ChaosOptions = {}): Promise<ChaosCluster> {
    const base = await TestCluster.create({ settings: options.settings ?? {} });
    const cluster = new ChaosCluster(base, options);
    try {
      await cluster.prepare();
      for (const id of cluster.nodeIds) await cluster.startNode(id);
      await withEnvironment(cluster.environmentOf(PRIMARY), () => base.start());
      return cluster;
    } catch (err) {
      const log = await base.logs();
      await cluster.destroy();
      throw new Error(`the cluster did not start: ${(err as Error).message}\n${log}`, { cause: err });
    }
  }

  get nodeIds(): string[] {
    return this.base.storageNodes.map(({ id }) => id);
  }

  /** Everybody who is connected to others. */
  get parties(): string[] {
    return [...this.nodeIds, PRIMARY];
  }

  /** Disk and clock of a storage node or the primary. */
  faultsOf(party: string): FaultIo {
    return this.io.get(party)!;
  }

  dirOf(party: string): string {
    if (party === PRIMARY) return this.base.computeDir;
    return this.base.storageNodes.find(({ id }) => id === party)!.dir;
  }

  async startNode(id: string): Promise<void> {
    // There is one environment to hand on, and faults start several nodes at once: they take turns.
    const turn = this.starting.then(() =>
      withEnvironment(this.environmentOf(id), () => this.base.startStorage(id)),
    );
    this.starting = turn.catch(() => undefined); // its caller hears of it
    await turn;
  }

  /** As it was started the first time; its folder may be empty. */
  async startPrimary(): Promise<void> {
    const name = computeDaemonName(PRIMARY);
    const { run } = this.base.layout;
    const config = JSON.parse(readFileSync(path.join(run, `${name}.json`), 'utf8')) as Record<
      string,
      unknown
    >;
    await withEnvironment(this.environmentOf(PRIMARY), () =>
      startDaemon(
        { kind: 'compute', name, runDir: run, logFile: daemonLog(this.base.layout, name), config },
        START_MS,
      ),
    );
  }

  /** Every process of a party: of the primary, the daemon first, then PostgreSQL's. */
  pidsOf(party: string): number[] {
    if (party !== PRIMARY) return [this.base.storagePid(party)].filter((pid) => pid !== null);
    const postmaster = this.base.postgresPid();
    const daemon = this.base.computePid();
    const family = postmaster === null ? [] : [postmaster, ...childrenOf(postmaster)];
    return [...(daemon === null ? [] : [daemon]), ...family];
  }

  /** One that goes by the wire, past the proxies. */
  async tool(id: string, timeoutMs = 3000): Promise<StorageClient> {
    const node = this.base.storageNodes.find((known) => known.id === id)!;
    return StorageClient.connect(node, {
      secret: loadSecret(this.base.layout.secret),
      volumeId: this.volumeId,
      role: 'tool',
      clientId: 'chaos',
      nodeId: id,
      connectTimeoutMs: timeoutMs,
      requestTimeoutMs: timeoutMs,
    });
  }

  healEverything(): void {
    this.net.heal();
    for (const io of this.io.values()) io.heal();
  }

  /** Logs of the daemons and of PostgreSQL, copied to where they outlive the cluster. */
  async keepLogs(to: string): Promise<void> {
    await fs.mkdir(to, { recursive: true });
    await fs.cp(path.join(this.base.layout.root, 'log'), to, { recursive: true });
    for (const name of existsSync(this.base.computeDir) ? readdirSync(this.base.computeDir) : [])
      if (name.endsWith('.log'))
        await fs.copyFile(path.join(this.base.computeDir, name), path.join(to, name));
  }

  /** Safe to repeat. */
  destroy(): Promise<void> {
    this.destroyed ??= this.destroyNow();
    return this.destroyed;
  }

  private async destroyNow(): Promise<void> {
    this.healEverything();
    // A stopped process does not even end in order.
    for (const party of this.parties) for (const pid of this.pidsOf(party)) signalIfThere(pid, 'SIGCONT');
    await this.base.destroy();
    await this.net.close();
    for (const io of this.io.values()) io.close();
  }

  private get volumeId(): string {
    return (JSON.parse(readFileSync(path.join(this.base.layout.run, `storage-${this.nodeIds[0]}.json`), 'utf8')) as { volumeId: string }).volumeId; // prettier-ignore
  }

  private async prepare(): Promise<void> {
    const dir = path.join(this.base.root, 'faults');
    await fs.mkdir(dir, { mode: 0o755 });
    const library = await buildFaultIo(dir);
    const owner = await fs.stat(this.base.socketDir);
    for (const party of this.parties) {
      const io = new FaultIo(
        library,
        path.join(dir, `${party}.control`),
        await fs.realpath(this.dirOf(party)),
      );
      this.io.set(party, io);
      if (party === PRIMARY) await io.shareWith(owner.uid, owner.gid);
      this.routes.set(
        party,
        Object.fromEntries(
          await Promise.all(
            this.base.storageNodes
              .filter(({ id }) => id !== party)
              .map(
                async ({ id, host, port }) => [id, await this.net.link(party, id, { host, port })] as const,
              ),
          ),
        ),
      );
    }
  }

  private environmentOf(party: string): Record<string, string> {
    const routes = this.routes.get(party)!;
    const [name, settings] =
      party === PRIMARY
        ? ['AURORA_COMPUTE_SETTINGS', { routes }]
        : ['AURORA_STORAGE_SETTINGS', { ...this.options.storageSettings, routes }];
    return { ...this.faultsOf(party).environment, [name as string]: JSON.stringify(settings) };
  }
}

export function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  } catch (err) {
    if (['ENOENT', 'ESRCH'].includes((err as NodeJS.ErrnoException).code ?? '')) return [];
    throw err;
  }
}
