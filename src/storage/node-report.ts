import type { LocalState } from '../engine/gossip/index.js';
import { formatLsn } from '../engine/lsn.js';
import type { LiveVerifier } from '../engine/verify/index.js';
import type { NodeStatus } from '../net/node-status.js';
import type { CatchUp } from './catch-up.js';
import type { StorageConfig } from './config.js';
import type { DiskGuard } from './disk-guard.js';
import type { IngestLoop } from './ingest-loop.js';
import type { LogService } from './log-service.js';
import type { MembershipService } from './membership-service.js';
import type { MetricsSource } from './metrics.js';
import type { NodeApi } from './node-api.js';
import type { PageService } from './page-service.js';
import type { Rebuild } from './rebuild.js';
import type { NodeState } from './recover-node.js';
import type { ScrubService } from './scrub-service.js';
import type { VacuumService } from './vacuum-service.js';

export interface ReportParts {
  readonly config: StorageConfig;
  readonly node: NodeState;
  readonly logService: LogService;
  readonly ingest: IngestLoop;
  readonly disk: DiskGuard;
  readonly catchUp: CatchUp;
  readonly rebuild: Rebuild;
  readonly membership: MembershipService;
  readonly vacuum: VacuumService;
  readonly scrub: ScrubService;
  readonly pageService: PageService;
  readonly api: NodeApi;
  readonly verifier: LiveVerifier | null;
  draining(): boolean;
  connections(): { open: number; refused: number };
}

/** What a storage node says of itself: to tools, to its peers, to Prometheus. Reads, and changes nothing. */
export class NodeReport {
  constructor(private readonly parts: ReportParts) {}

  status(): NodeStatus {
    const { acceptor, log, pages, identity } = this.parts.node;
    const state = acceptor.state;
    return {
      id: this.parts.config.nodeId,
      volumeId: this.parts.config.volumeId,
      pid: process.pid,
      generation: identity.generation,
      state: this.parts.draining() ? 'draining' : this.parts.disk.full ? 'disk-full' : 'running',
      voter: state.learner === null,
      learnerReason: state.learner,
      promisedEpoch: state.promisedEpoch,
      promisedWriter: state.promisedTo,
      history: log.durableHistory,
      scl: log.durableEnd,
      commitLsn: state.commitLsn,
      appliedLsn: pages.appliedLsn,
      logStart: log.startLsn,
      damaged: log.damages.map(({ begin, end, file }) => ({ begin, end, file })),
      ingestError: this.parts.ingest.error,
      writeError: this.parts.logService.writeError,
      catchUp: { ...this.parts.catchUp.status },
      disk: {
        freeBytes: this.parts.disk.freeBytes,
        reserveBytes: this.parts.config.disk.reserveBytes,
        problem: this.parts.disk.problem,
      },
      membership: this.parts.membership.status,
      rebuild: this.parts.rebuild.status,
      gcLsn: pages.horizon,
      vacuum: this.parts.vacuum.status(),
      scrub: this.parts.scrub.status,
      metrics: { ...this.metricsSource().totals(), ...this.metricsSource().gauges() },
    };
  }

  gossipState(): Omit<LocalState, 'load'> {
    const { acceptor, log, pages } = this.parts.node;
    return {
      epoch: Math.max(0, acceptor.lastLogEpoch),
      scl: log.durableEnd,
      commitLsn: acceptor.state.commitLsn,
      appliedLsn: pages.appliedLsn,
      gcLsn: pages.horizon,
      condition: this.parts.disk.full ? 'disk-full' : this.parts.rebuild.status?.cause ? 'damaged' : 'ok',
    };
  }

  positions(): Record<string, string> {
    const { scl, commitLsn, appliedLsn, logStart } = this.status();
    return {
      scl: formatLsn(scl),
      commit: formatLsn(commitLsn),
      applied: formatLsn(appliedLsn),
      logStart: formatLsn(logStart),
    };
  }

  metricsSource(): MetricsSource {
    const { acceptor, log, pages } = this.parts.node;
    return {
      positions: () => ({
        scl: log.durableEnd,
        commit: acceptor.state.commitLsn,
        applied: pages.appliedLsn,
        logStart: log.startLsn,
      }),
      epochs: () => ({ promised: acceptor.state.promisedEpoch, current: acceptor.lastLogEpoch }),
      totals: () => ({
        logAppendedBytes: this.parts.logService.appendedBytes,
        logSyncs: this.parts.logService.syncs,
        recordsIngested: this.parts.ingest.records,
        ingestBusySeconds: this.parts.ingest.busyMs / 1000,
        pagesServed: this.parts.pageService.pagesServed,
        requests: this.parts.api.requests,
        requestFailures: this.parts.api.failures,
        catchUpBytes: this.parts.catchUp.status.fetchedBytes,
        rebuildBytes: this.parts.rebuild.bytes,
        healedBytes: this.parts.catchUp.status.healedBytes,
        connectionsRefused: this.parts.connections().refused,
        filesRefused: pages.stats.filesRefused,
        imagesCoalesced: pages.stats.imagesCoalesced,
        redoCompared: this.parts.verifier?.compared ?? 0,
        redoMismatched: this.parts.verifier?.mismatched ?? 0,
        scrubPasses: this.parts.scrub.status.passes,
        scrubPagesCompared: this.parts.scrub.status.pagesCompared,
        scrubPagesDiffering: this.parts.scrub.status.pagesDiffering,
        scrubPagesRepaired: this.parts.scrub.status.pagesRepaired,
        scrubPagesDisputed: this.parts.scrub.status.pagesDisputed,
        scrubBytesVerified: this.parts.scrub.status.bytesVerified,
        timesDiskFull: this.parts.disk.timesFull,
      }),
      gauges: () => ({
        voter: acceptor.state.learner === null ? 1 : 0,
        redoVerify: this.parts.verifier === null ? 0 : 1,
        ingestStopped: this.parts.ingest.error ? 1 : 0,
        damagedRanges: log.damages.length,
        rebuildPagesDone: this.parts.rebuild.status?.pagesDone ?? 0,
        rebuildPagesTotal: this.parts.rebuild.status?.pagesTotal ?? 0,
        connections: this.parts.connections().open,
        waiters: this.parts.ingest.waiters.size,
        coalesceBacklog: pages.stats.coalesceBacklog,
        logUnsyncedBytes: log.unsyncedBytes,
        logSyncSeconds: this.parts.logService.pace.seconds,
        diskFull: this.parts.disk.full ? 1 : 0,
        diskReserveBytes: this.parts.config.disk.reserveBytes,
        versions: pages.versionsEstimated,
        pagesDamaged: this.parts.rebuild.status?.cause ? 1 : 0,
      }),
    };
  }
}
