import { rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { errorMessage, type DbError } from '../engine/errors.js';
import { INVALID_LSN, type Lsn } from '../engine/lsn.js';
import { describeDamage, type Damage } from '../engine/log/index.js';
import { ComputeRegistry } from '../engine/computes/registry.js';
import { Ingester } from '../engine/pages/ingest.js';
import type { OnStoreFault, StoreFault } from '../engine/pages/rocks.js';
import { LiveVerifier } from '../engine/verify/index.js';
import { quorumOf, rejoinQuorumOf } from '../engine/quorum/index.js';
import type { NodeStatus } from '../net/node-status.js';
import { FrameServer } from '../net/server.js';
import { RefusalLog } from '../net/refusal-log.js';
import { loadSecret } from '../net/secret.js';
import { TlsCredentials } from '../net/tls.js';
import { addTlsMetrics } from '../net/tls-metrics.js';
import { BaseService } from './base-service.js';
import { CatchUp } from './catch-up.js';
import { CommittedLog } from './committed-log.js';
import { DAMAGED_PAGES_FOLDER } from './folders.js';
import { DiskGuard, isDiskFull } from './disk-guard.js';
import { endpointOf, type StorageConfig } from './config.js';
import { addGossipMetrics } from './gossip-metrics.js';
import { GossipService } from './gossip-service.js';
import { HttpPort, serveHttp } from './http.js';
import { IngestLoop } from './ingest-loop.js';
import { LogReader } from './log-reader.js';
import { LogService } from './log-service.js';
import { MembershipService } from './membership-service.js';
import { createMetrics } from './metrics.js';
import { NodeApi } from './node-api.js';
import { NodeReport } from './node-report.js';
import { PageService } from './page-service.js';
import { Peers } from './peers.js';
import { Rebuild } from './rebuild.js';
import { recoverNode, type NodeState } from './recover-node.js';
import { ScrubService } from './scrub-service.js';
import { addVacuumMetrics } from './vacuum-metrics.js';
import { VacuumService } from './vacuum-service.js';

/** How often what is known to be committed is noted for the next start: each time costs a sync. */
const SAVE_MS = 10_000;

/**
 * One storage node: makes the log durable, turns it into pages, serves both. `StorageDaemon.start` resolves when it accepts
 * connections; `failure` rejects when it cannot go on; stop() ends it in order.
 */
export class StorageDaemon {
  port = 0;
  /** Never resolves; rejects on a broken invariant. The process should end then. */
  readonly failure: Promise<never>;
  private readonly disk: DiskGuard;
  private readonly logService: LogService;
  private readonly ingester: Ingester;
  /** With redo_verify. */
  private readonly verifier: LiveVerifier | null;
  private readonly ingest: IngestLoop;
  private readonly logReader: LogReader;
  private readonly committed: CommittedLog;
  private readonly pageService: PageService;
  private readonly catchUp: CatchUp;
  private readonly rebuild: Rebuild;
  private readonly peers: Peers;
  private readonly membership: MembershipService;
  private readonly gossip: GossipService;
  private readonly vacuum: VacuumService;
  private readonly scrub: ScrubService;
  private readonly api: NodeApi;
  private readonly server: FrameServer;
  private readonly httpPort: HttpPort;
  private readonly metrics: Registry;
  private readonly report: NodeReport;
  private readonly stopping = new AbortController();
  private background: Promise<unknown> = Promise.resolve();
  private connections = 0;
  private refusedConnections = 0;
  private storeIsStuck = false;
  private stopped: Promise<void> | null = null;
  private fail!: (err: unknown) => void;

  private constructor(
    private readonly config: StorageConfig,
    private readonly node: NodeState,
    secret: Buffer,
    tls: TlsCredentials | null,
    private readonly logger: Logger,
    damageListener: { call: (damage: Damage) => void },
    storeListener: { call: OnStoreFault },
  ) {
    const { acceptor, log, pages, identity } = node;
    this.failure = new Promise<never>((_, reject) => {
      this.fail = reject;
    });
    this.failure.catch(() => undefined); // whoever started us awaits it, perhaps later
    this.disk = new DiskGuard(config.disk, { dir: config.dir, onSpace: () => this.hasSpace() }, logger);
    this.logService = new LogService(
      acceptor,
      log,
      identity,
      {
        onReadable: () => this.readable(),
        onCut: (at) => this.ingest.cut(at),
        onGap: () => this.catchUp.gap(),
        isFull: () => this.disk.full,
        onTaking: (bytes) => this.disk.taking(bytes),
        onWriteFailed: (err) => this.writeFailed(err),
        onConfiguration: () => this.membership.changed(),
        onFatal: (err) => this.fail(err),
      },
      logger,
    );
    this.verifier = config.redoVerify ? this.newVerifier() : null;
    this.ingester = new Ingester(pages, { secret, check: this.verifier });
    this.ingest = new IngestLoop(
      log,
      pages,
      this.ingester,
      {
        ...config.ingest,
        readable: () => this.ingestTarget(),
        onDamage: () => this.catchUp.wake(),
      },
      logger,
    );
    this.logReader = new LogReader(log, pages);
    this.committed = new CommittedLog(log, () => acceptor.readableLsn);
    this.pageService = new PageService(pages, this.ingest, config.readWaitMs);
    this.catchUp = new CatchUp(
      acceptor,
      log,
      this.logService,
      () => this.peers,
      {
        segmentSize: () => this.segmentSize(),
        isFull: () => this.disk.full,
        onHealed: () => this.ingest.kick(),
      },
      logger,
    );
    this.rebuild = new Rebuild(
      {
        acceptor,
        log,
        pages,
        logService: this.logService,
        ingest: () => this.ingest,
        peers: () => this.peers,
        onLogReady: () => this.catchUp.wake(),
        notePagesGivenUp: (givenUp) => identity.notePagesGivenUp(givenUp),
        asideFolder: path.join(config.dir, DAMAGED_PAGES_FOLDER),
        isFull: () => this.disk.full,
      },
      {
        ...config.rebuild,
        nodeId: config.nodeId,
        rejoinQuorum: () => this.rejoinQuorum(),
      },
      logger,
    );
    this.membership = new MembershipService(
      acceptor,
      this.logService,
      () => this.peers,
      {
        nodeId: config.nodeId,
        volumeId: config.volumeId,
        secret,
        tls,
        peers: config.peers,
        routes: config.routes,
        join: config.join.map((address) => endpointOf(address)!),
      },
      logger,
    );
    this.peers = new Peers(
      this.membership.others,
      {
        secret,
        tls,
        volumeId: config.volumeId,
        nodeId: config.nodeId,
        pollMs: config.peerPollMs,
        onOpen: (id, client) => client.on('gossip', (message) => this.gossip.receive(id, message)),
      },
      () => {
        this.membership.learn();
        this.catchUp.wake();
        this.rebuild.wake();
      },
      logger,
    );
    this.gossip = new GossipService(
      {
        nodeId: config.nodeId,
        generation: identity.generation,
        intervalMs: config.gossip.intervalMs,
        peers: this.membership.others,
        state: () => this.report.gossipState(),
      },
      (id) => this.peers.all.find((peer) => peer.id === id)?.client ?? null,
      logger,
    );
    this.vacuum = new VacuumService(
      { dir: config.dir, log, pages, peers: () => this.peers.all, now: () => performance.now() },
      config.retention,
      config.vacuum,
      logger,
    );
    this.scrub = new ScrubService(
      {
        nodeId: config.nodeId,
        pages,
        peers: () => this.peers,
        voters: config.quorum.voters,
        ready: () => this.rebuild.status === null && pages.appliedLsn > 0,
        hold: (name, at, release) => void this.vacuum.lease({ name, lsn: at }, release),
        onReplaced: () => this.ingest.reset(),
        onDamage: (why) => this.rebuild.pagesDamaged(why),
      },
      config.scrub,
      logger,
    );
    this.api = new NodeApi(
      {
        status: () => this.report.status(),
        appliedLsn: () => pages.appliedLsn,
        log,
        logService: this.logService,
        logReader: this.logReader,
        committed: this.committed,
        computes: new ComputeRegistry(),
        ingest: this.ingest,
        pageService: this.pageService,
        base: new BaseService(pages, this.ingest, config.readWaitMs),
        gossip: this.gossip,
        vacuum: this.vacuum,
        scrub: this.scrub,
        membership: this.membership,
        onFatal: (err) => this.fail(err),
      },
      logger,
    );
    this.report = new NodeReport({
      config,
      node,
      logService: this.logService,
      ingest: this.ingest,
      disk: this.disk,
      catchUp: this.catchUp,
      rebuild: this.rebuild,
      membership: this.membership,
      vacuum: this.vacuum,
      scrub: this.scrub,
      pageService: this.pageService,
      api: this.api,
      verifier: this.verifier,
      draining: () => this.stopping.signal.aborted,
      connections: () => ({ open: this.connections, refused: this.refusedConnections }),
    });
    this.metrics = createMetrics(this.report.metricsSource(), {
      node: config.nodeId,
      volume: config.volumeId,
    });
    addGossipMetrics(this.metrics, this.gossip);
    addVacuumMetrics(this.metrics, this.vacuum, () => pages.horizon);
    addTlsMetrics(this.metrics, 'aurora_storage_', tls);
    const refusals = new RefusalLog(logger, 'connection');
    this.server = new FrameServer({
      host: config.host,
      port: config.port,
      secret,
      tls,
      volumeId: config.volumeId,
      nodeId: config.nodeId,
      onHttp: (request, response) => this.http(request, response),
      onSession: (session) => {
        this.connections += 1;
        session.connection.on('close', () => (this.connections -= 1));
        this.api.attach(session);
      },
      onRefused: (remote, err) => {
        this.refusedConnections += 1;
        refusals.refused(remote, err);
      },
      onTlsProblem: (err) =>
        logger.error({ err }, `the renewed certificate is not used: ${errorMessage(err)}`),
    });
    this.httpPort = new HttpPort((request, response) => this.http(request, response));
    damageListener.call = (damage) => this.damaged(damage);
    storeListener.call = (fault, err) => this.storeFault(fault, err);
  }

  /** Throws NET_PORT_IN_USE, USAGE_SECRET, NODE_WRONG_IDENTITY, NODE_STORE_OPEN, ... Nothing is left running then. */
  static async start(config: StorageConfig, logger: Logger): Promise<StorageDaemon> {
    const secret = loadSecret(config.secretFile);
    const tls = config.tls === null ? null : TlsCredentials.load(config.tls);
    tls?.assertOf(`node:${config.nodeId}`);
    const early: Damage[] = [];
    const damageListener = { call: (damage: Damage): void => void early.push(damage) };
    const faults: Parameters<OnStoreFault>[] = [];
    const storeListener = { call: (...fault: Parameters<OnStoreFault>): void => void faults.push(fault) };
    const node = await recoverNode(
      config,
      (damage) => damageListener.call(damage),
      (fault, err) => storeListener.call(fault, err),
      logger,
    );
    const daemon = new StorageDaemon(config, node, secret, tls, logger, damageListener, storeListener);
    try {
      await daemon.disk.start();
      daemon.port = await daemon.server.listen();
      if (config.metricsPort !== null) await daemon.httpPort.listen(config.metricsPort);
    } catch (err) {
      await daemon.stop();
      throw err;
    }
    daemon.gossip.start(config.advertise === '' ? `${config.host}:${daemon.port}` : config.advertise);
    daemon.membership.start();
    for (const damage of early) daemon.damaged(damage);
    for (const fault of faults) daemon.storeFault(...fault);
    writeFileSync(path.join(config.dir, 'node.pid'), `${process.pid}\n`);
    daemon.ingest.kick();
    daemon.vacuum.start();
    daemon.scrub.start();
    daemon.background = Promise.all([daemon.saveLoop(), daemon.scrubLoop()]);
    daemon.background.catch((err: unknown) => daemon.fail(err));
    logger.info(
      { port: daemon.port, ...daemon.report.positions(), voter: daemon.report.status().voter },
      'storage node serves',
    );
    return daemon;
  }

  status(): NodeStatus {
    return this.report.status();
  }

  private rejoinQuorum(): number {
    const { configuration } = this.membership;
    if (configuration) return quorumOf(configuration).rejoinQuorum;
    const { voters, write, read } = this.config.quorum;
    return rejoinQuorumOf(voters, write, read);
  }

  /** Lets everything accepted become durable, then closes. Safe to repeat. */
  stop(): Promise<void> {
    this.stopped ??= this.shutDown();
    return this.stopped;
  }

  private async shutDown(): Promise<void> {
    const { acceptor, log, pages, identity } = this.node;
    this.stopping.abort();
    this.server.drain();
    this.httpPort.close();
    const caughtUp = this.catchUp.stop();
    const rebuildStopped = this.rebuild.stop();
    await this.disk.stop();
    const joined = this.membership.stop();
    await this.vacuum.stop();
    const scrubStopped = this.scrub.stop();
    this.gossip.stop();
    await this.peers.close(); // also ends what catch-up waits for
    await caughtUp;
    await rebuildStopped;
    await scrubStopped;
    await joined;
    try {
      await this.logService.sync();
    } catch (err) {
      this.logger.error(
        { err },
        `last sync of the log failed: ${errorMessage(err)}; nothing of it was acknowledged`,
      );
    }
    this.logService.stop();
    await this.server.closeAll();
    await this.ingest.stop();
    await this.background.catch(() => undefined); // told through `failure` already
    try {
      identity.save(acceptor.identity, acceptor.readableLsn);
      pages.sync();
    } catch (err) {
      // Both only spare the next start some work: what must be durable was so before anybody was told.
      this.logger.error({ err }, `the last state was not saved: ${errorMessage(err)}`);
    }
    await log.close().catch((err: unknown) => this.logger.error({ err }, 'closing the log failed'));
    await pages.close();
    identity.close();
    rmSync(path.join(this.config.dir, 'node.pid'), { force: true });
    this.logger.info('storage node stopped');
  }

  private newVerifier(): LiveVerifier {
    const { pages } = this.node;
    this.logger.warn('redo_verify is on: every record is replayed and compared when it comes');
    return new LiveVerifier(pages, {
      redo: pages.redoContext,
      // One entry a line: an entry's text is escaped, and this is to be read.
      onMismatch: (lines) => lines.forEach((line) => this.logger.error(line)),
    });
  }

  /** The durable log or the commit LSN moved. */
  private readable(): void {
    this.ingest.kick();
    this.committed.moved();
    this.rebuild.tryRejoin();
  }

  private damaged(damage: Damage): void {
    this.logger.error({ ...damage }, `damaged log: ${describeDamage(damage)}`);
    this.node.acceptor.setDamaged(true);
    this.catchUp.wake();
  }

  private ingestTarget(): Lsn {
    const { acceptor, pages } = this.node;
    if (!this.rebuild.pagesReady) return INVALID_LSN;
    // A full disk has other uses for its last room than pages that the log can make at any time.
    return this.disk.full ? pages.appliedLsn : acceptor.readableLsn;
  }

  private writeFailed(err: unknown): void {
    if (isDiskFull(err)) this.disk.refused(err as Error);
  }

  /** RocksDB could not do what it should. */
  private storeFault(fault: StoreFault, err: DbError): void {
    this.ingest.suspend();
    if (fault === 'damage') this.rebuild.pagesDamaged(err.message);
    else {
      this.storeIsStuck = true;
      this.disk.refused(err);
    }
  }

  private hasSpace(): void {
    this.freeStore()
      .then(() => {
        this.catchUp.wake();
        this.rebuild.wake();
        this.ingest.kick();
      })
      .catch((err: unknown) => this.fail(err));
  }

  /** After a write that was refused for want of room RocksDB takes no more until it is opened anew. */
  private async freeStore(): Promise<void> {
    if (!this.storeIsStuck) return;
    const { pages } = this.node;
    this.storeIsStuck = false;
    try {
      pages.sync();
    } catch {
      this.ingest.suspend();
      if (this.disk.full) return; // refused again: the next time
      await pages.openAnew();
    }
    this.ingest.reset();
  }

  private segmentSize(): number | null {
    const { pages } = this.node;
    return pages.controlSnapshot(pages.appliedLsn)?.state.segmentSize ?? null;
  }

  private async saveLoop(): Promise<void> {
    const { acceptor, identity } = this.node;
    while (await this.pause(SAVE_MS))
      if (acceptor.readableLsn > identity.commitLsn && !this.disk.full)
        identity.save(acceptor.identity, acceptor.readableLsn);
  }

  private async scrubLoop(): Promise<void> {
    if (!this.config.scrub.enabled) return;
    while (await this.pause(this.config.scrub.intervalMs)) {
      const { bytesChecked, found } = await this.node.log.scrub(this.stopping.signal);
      this.logger.info({ bytesChecked, found: found.length }, 'log scrubbed');
    }
  }

  /** False when the node is stopping. */
  private pause(ms: number): Promise<boolean> {
    return sleep(ms, true, { signal: this.stopping.signal }).catch(() => false);
  }

  private http(request: IncomingMessage, response: ServerResponse): void {
    serveHttp(request, response, { metrics: this.metrics, status: () => this.report.status() }, this.logger);
  }
}
