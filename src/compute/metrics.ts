import { Counter, Gauge, Registry, collectDefaultMetrics } from 'prom-client';
import type { ReadRouter, ReadShare } from './read-router.js';
import type { Term } from './term.js';

/** Prometheus metrics of a compute daemon; values are read when they are asked for. */
export function computeMetrics(current: () => Term | null, reader: ReadRouter): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, value: (term: Term) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const term = current();
        this.set(term ? value(term) : 0);
      },
    });
  };
  gauge('aurora_compute_up', '1 while PostgreSQL runs', (t) => (t.parts.postgres.running ? 1 : 0));
  gauge('aurora_compute_epoch', "The writer's epoch", (t) => t.parts.writer.epoch);
  gauge('aurora_compute_commit_lsn_bytes', 'Commit LSN', (t) => t.parts.writer.commitLsn);
  gauge(
    'aurora_compute_uncommitted_bytes',
    'Log that no write quorum holds yet',
    (t) => t.parts.writer.uncommittedBytes,
  );
  gauge(
    'aurora_compute_wal_received_bytes',
    'WAL received from PostgreSQL in this term',
    (t) => t.parts.shipper.walBytes,
  );
  gauge(
    'aurora_compute_log_sent_bytes',
    'Log sent to all storage nodes in this term',
    (t) => t.parts.writer.sentBytes,
  );
  gauge(
    'aurora_compute_page_requests',
    'Requests of the page-in library in this term',
    (t) => t.parts.agent.counters.requests,
  );
  gauge(
    'aurora_compute_pages_served',
    'Blocks given to PostgreSQL in this term',
    (t) => t.parts.agent.counters.blocksServed,
  );
  gauge(
    'aurora_compute_pages_prefetched',
    'Blocks read ahead in this term',
    (t) => t.parts.agent.counters.blocksPrefetched,
  );
  gauge(
    'aurora_compute_page_errors',
    'Page requests that failed in this term',
    (t) => t.parts.agent.counters.errors,
  );
  gauge(
    'aurora_compute_apply_lag_bytes',
    'Committed log that a write quorum of storage nodes has not made pages of',
    (t) => t.parts.writer.progressOfPages?.lag ?? 0,
  );
  gauge(
    'aurora_compute_throttled_seconds',
    'How long the log was held up in this term because storage nodes were behind',
    (t) => t.parts.throttle.throttledMs / 1000,
  );
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
