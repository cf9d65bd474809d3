import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { PageAgentCounters } from './page-agent.js';
import type { ReadRouter, ReadShare } from './read-router.js';
import { lagBytes, type ReplicaTerm } from './replica-term.js';
import type { Term } from './term.js';

type Metrics = { [name: string]: { help: string; value(now: Lives): number } };

/** What runs: a writer's term, a replica's life, or neither. */
export interface Lives {
  term: Term | null;
  replica: ReplicaTerm | null;
}

const either = ({ term, replica }: Lives): Term | ReplicaTerm | null => term ?? replica;
const pages = (now: Lives): Partial<PageAgentCounters> => either(now)?.parts.agent.counters ?? {};

const GAUGES: Metrics = {
  up: { help: '1 while PostgreSQL runs', value: (now) => (either(now)?.parts.postgres.running ? 1 : 0) },
  primary: { help: '1 while it is the writer', value: ({ term }) => (term ? 1 : 0) },
  epoch: {
    help: "The writer's epoch",
    value: ({ term, replica }) => term?.parts.writer.epoch ?? replica?.parts.relay.epoch ?? 0,
  },
  commit_lsn_bytes: {
    help: 'Commit LSN; on a replica, the newest that it has heard of',
    value: ({ term, replica }) => term?.parts.writer.commitLsn ?? replica?.parts.relay.commitLsn ?? 0,
  },
  uncommitted_bytes: {
    help: 'Log that no write quorum holds yet',
    value: ({ term }) => term?.parts.writer.uncommittedBytes ?? 0,
  },
  apply_lag_bytes: {
    help: 'Committed log that a write quorum of storage nodes has not made pages of',
    value: ({ term }) => term?.parts.writer.progressOfPages?.lag ?? 0,
  },
  throttled_seconds: {
    help: 'How long the log was held up in this term because storage nodes were behind',
    value: ({ term }) => (term?.parts.throttle.throttledMs ?? 0) / 1000,
  },
  replica_received_lsn_bytes: {
    help: 'Log that a replica has written down',
    value: ({ replica }) => replica?.progress.received ?? 0,
  },
  replica_replay_lsn_bytes: {
    help: 'Log that a replica has replayed',
    value: ({ replica }) => replica?.progress.replayed ?? 0,
  },
  replica_lag_bytes: {
    help: 'Committed log that a replica has not replayed',
    value: ({ replica }) => (replica ? lagBytes(replica) : 0),
  },
  replica_lag_seconds: {
    help: 'For how long the oldest log that a replica has not replayed has waited there',
    value: ({ replica }) => (replica?.progress.lagMs ?? 0) / 1000,
  },
};

/** Of what runs: they begin anew with the next life, as counters may. */
const COUNTERS: Metrics = {
  wal_received_bytes_total: {
    help: 'WAL received from PostgreSQL',
    value: ({ term }) => term?.parts.shipper.walBytes ?? 0,
  },
  log_sent_bytes_total: {
    help: 'Log sent, summed over storage nodes',
    value: ({ term }) => term?.parts.writer.sentBytes ?? 0,
  },
  replica_relayed_bytes_total: {
    help: "Committed log given to a replica's PostgreSQL",
    value: ({ replica }) => replica?.parts.relay.bytes ?? 0,
  },
  replica_relay_switches_total: {
    help: 'Times that a replica turned to a storage node for its log',
    value: ({ replica }) => replica?.parts.relay.switches ?? 0,
  },
  page_requests_total: { help: 'Requests of the page-in library', value: (now) => pages(now).requests ?? 0 },
  pages_served_total: { help: 'Blocks given to PostgreSQL', value: (now) => pages(now).blocksServed ?? 0 },
  pages_prefetched_total: { help: 'Blocks read ahead', value: (now) => pages(now).blocksPrefetched ?? 0 },
  pages_prefetch_hits_total: {
    help: 'Blocks given to PostgreSQL that had been read ahead',
    value: (now) => pages(now).prefetchHits ?? 0,
  },
  page_errors_total: {
    help: 'Page requests that failed or were refused',
    value: (now) => pages(now).errors ?? 0,
  },
};

/** Prometheus metrics of a compute daemon, whatever its role; values are read when they are asked for. */
export function computeMetrics(current: () => Lives, reader: ReadRouter): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  for (const [name, { help, value }] of Object.entries(GAUGES))
    new Gauge({
      name: `aurora_compute_${name}`,
      help,
      registers,
      collect() {
        this.set(value(current()));
      },
    });
  for (const [name, { help, value }] of Object.entries(COUNTERS))
    new Counter({
      name: `aurora_compute_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(current()));
      },
    });
  const perNode = (name: string, help: string, value: (share: ReadShare) => number): void => {
    new Counter({
      name,
      help,
      labelNames: ['node'],
      registers,
      collect() {
        this.reset();
        for (const share of reader.shares()) this.inc({ node: share.nodeId }, value(share));
      },
    });
  };
  perNode('aurora_compute_node_reads_total', 'Reads sent to each storage node', (s) => s.reads);
  perNode(
    'aurora_compute_node_hedges_total',
    'Of these: second requests, because another node was slow',
    (s) => s.hedges,
  );
  perNode('aurora_compute_node_read_failures_total', 'Reads that failed', (s) => s.failures);
  return registry;
}
