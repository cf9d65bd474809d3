import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';

/** What the metrics are read from, at each scrape. Positions are LSNs: bytes of log since the volume's beginning. */
export interface MetricsSource {
  positions(): { scl: number; commit: number; applied: number; logStart: number };
  epochs(): { promised: number; current: number };
  totals(): Totals;
  gauges(): Gauges;
}

export interface Totals {
  logAppendedBytes: number;
  logSyncs: number;
  recordsIngested: number;
  ingestBusySeconds: number;
  pagesServed: number;
  requests: number;
  requestFailures: number;
  catchUpBytes: number;
  rebuildBytes: number;
  healedBytes: number;
  connectionsRefused: number;
  filesRefused: number;
  imagesCoalesced: number;
  redoCompared: number;
  redoMismatched: number;
  scrubPasses: number;
  scrubPagesCompared: number;
  scrubPagesDiffering: number;
  scrubPagesRepaired: number;
  scrubPagesDisputed: number;
  scrubBytesVerified: number;
  timesDiskFull: number;
}

export interface Gauges {
  voter: number;
  redoVerify: number;
  ingestStopped: number;
  damagedRanges: number;
  rebuildPagesDone: number;
  rebuildPagesTotal: number;
  connections: number;
  waiters: number;
  coalesceBacklog: number;
  logUnsyncedBytes: number;
  logSyncSeconds: number;
  diskFull: number;
  diskReserveBytes: number;
  pagesDamaged: number;
  versions: number;
}

const TOTALS: Record<keyof Totals, [name: string, help: string]> = {
  logAppendedBytes: ['log_appended_bytes_total', 'Log bytes taken from writers and peers'],
  logSyncs: ['log_syncs_total', 'Group commits: fdatasync calls of the log'],
  recordsIngested: ['ingest_records_total', 'WAL records turned into page versions'],
  ingestBusySeconds: ['ingest_busy_seconds_total', 'Time spent on ingest'],
  pagesServed: ['pages_served_total', 'Pages sent to computes and tools'],
  requests: ['requests_total', 'Requests served'],
  requestFailures: ['request_failures_total', 'Requests answered with an error'],
  catchUpBytes: ['catch_up_bytes_total', 'Log bytes fetched from peers'],
  rebuildBytes: ['rebuild_bytes_total', 'Page images copied from peers to rebuild this node'],
  healedBytes: ['healed_bytes_total', 'Damaged log bytes replaced by those of a peer'],
  connectionsRefused: [
    'connections_refused_total',
    'Connections that failed to authenticate or to speak the protocol',
  ],
  filesRefused: ['files_refused_total', 'Volume files in the log with a wrong authentication code'],
  imagesCoalesced: ['images_coalesced_total', 'Page images made from chains of changes'],
  redoCompared: ['redo_compared_total', "Replayed pages compared with PostgreSQL's images (redo_verify)"],
  redoMismatched: ['redo_mismatched_total', 'Replayed pages that were not as PostgreSQL made them'],
  scrubPasses: ['scrub_passes_total', 'Comparisons of all pages with the peers'],
  scrubPagesCompared: ['scrub_pages_compared_total', 'Pages compared with the peers'],
  scrubPagesDiffering: ['scrub_pages_differing_total', 'Pages that were not the same on all nodes'],
  scrubPagesRepaired: ['scrub_pages_repaired_total', 'Pages that were wrong here and were replaced'],
  scrubPagesDisputed: ['scrub_pages_disputed_total', 'Pages that differ without a majority'],
  scrubBytesVerified: ['scrub_verified_bytes_total', 'Bytes of the page store read to check them'],
  timesDiskFull: ['disk_full_total', 'Times that the disk became full'],
};

const GAUGES: Record<keyof Gauges, [name: string, help: string]> = {
  voter: ['voter', '1 when this node counts for quorums, 0 as a learner'],
  redoVerify: ['redo_verify', '1 when replayed pages are compared with the images in the log'],
  ingestStopped: ['ingest_stopped', '1 when a record cannot be replayed'],
  damagedRanges: ['log_damaged_ranges', 'Damaged stretches of the log not healed yet'],
  rebuildPagesDone: ['rebuild_pages_done', 'Pages copied, while this node is rebuilt from its peers'],
  rebuildPagesTotal: ['rebuild_pages', 'Pages to copy, while this node is rebuilt from its peers'],
  connections: ['connections', 'Authenticated connections'],
  waiters: ['read_waiters', 'Reads waiting for ingest to reach their LSN'],
  coalesceBacklog: ['coalesce_backlog_pages', 'Pages due for a new image'],
  logUnsyncedBytes: ['log_unsynced_bytes', 'Log bytes not durable yet'],
  logSyncSeconds: [
    'log_sync_seconds',
    'What the last syncs of the log took, the median; 0 while there were few of late',
  ],
  diskFull: ['disk_full', '1 while this node takes no log for want of room on its disk'],
  diskReserveBytes: ['disk_reserve_bytes', 'Free space below which this node takes no log'],
  versions: ['versions', 'Versions of pages, relation sizes and facts in the store, as RocksDB estimates'],
  pagesDamaged: ['pages_damaged', '1 while the page store is damaged, or is being made anew for that'],
};

const PREFIX = 'aurora_storage_';

/** A registry of its own per node, so that several nodes of one process (tests) do not mix. */
export function createMetrics(source: MetricsSource, labels: { node: string; volume: string }): Registry {
  const registry = new Registry();
  registry.setDefaultLabels(labels);
  collectDefaultMetrics({ register: registry });
  for (const [key, [name, help]] of Object.entries(TOTALS) as [keyof Totals, [string, string]][])
    new Counter({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(source.totals()[key]);
      },
    });
  for (const [key, [name, help]] of Object.entries(GAUGES) as [keyof Gauges, [string, string]][])
    gauge(registry, name, help, () => source.gauges()[key]);
  for (const key of ['scl', 'commit', 'applied', 'logStart'] as const)
    gauge(
      registry,
      `${key === 'logStart' ? 'log_start' : key}_lsn_bytes`,
      `Position: ${key}`,
      () => source.positions()[key],
    );
  gauge(registry, 'apply_lag_bytes', 'Committed log not applied yet', () =>
    Math.max(0, Math.min(source.positions().commit, source.positions().scl) - source.positions().applied),
  );
  gauge(registry, 'promised_epoch', 'Highest epoch promised', () => source.epochs().promised);
  gauge(registry, 'log_epoch', 'Epoch of the newest log', () => source.epochs().current);
  return registry;
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name: PREFIX + name,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}
