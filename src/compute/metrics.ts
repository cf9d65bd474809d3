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
  // Of the term that runs: they begin anew with the next, as counters may.
  const counter = (name: string, help: string, value: (term: Term) => number): void => {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        const term = current();
        this.inc(term ? value(term) : 0);
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
  counter(
    'aurora_compute_wal_received_bytes_total',
    'WAL received from PostgreSQL',
    (t) => t.parts.shipper.walBytes,
  );
  counter(
    'aurora_compute_log_sent_bytes_total',
    'Log sent, summed over storage nodes',
    (t) => t.parts.writer.sentBytes,
  );
  counter(
    'aurora_compute_page_requests_total',
    'Requests of the page-in library',
    (t) => t.parts.agent.counters.requests,
  );
  counter(
    'aurora_compute_pages_served_total',
    'Blocks given to PostgreSQL',
    (t) => t.parts.agent.counters.blocksServed,
  );
  counter(
    'aurora_compute_pages_prefetched_total',
    'Blocks read ahead',
    (t) => t.parts.agent.counters.blocksPrefetched,
  );
  counter(
    'aurora_compute_page_errors_total',
    'Page requests that failed or were refused',
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
