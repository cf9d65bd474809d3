import { Counter, Gauge, type Registry } from 'prom-client';
import type { Lsn } from '../engine/lsn.js';
import type { VacuumService } from './vacuum-service.js';

const PREFIX = 'aurora_vacuum_';

const TOTALS: readonly [name: string, help: string, value: (vacuum: VacuumService) => number][] = [
  ['passes_total', 'Passes over the whole page store', (v) => v.counters.passes],
  ['keys_visited_total', 'Versions looked at', (v) => v.counters.keysVisited],
  ['versions_removed_total', 'Versions removed', (v) => v.counters.versionsRemoved],
  [
    'forks_removed_total',
    'Dropped relation forks whose pages went all at once',
    (v) => v.counters.forksRemoved,
  ],
  [
    'images_written_total',
    'Images of pages at rest in place of their chains',
    (v) => v.counters.imagesWritten,
  ],
  ['failures_total', 'Pages at rest that could not be rebuilt', (v) => v.counters.failures],
  ['busy_seconds_total', 'Time spent on removal', (v) => v.busyMs / 1000],
  ['log_dropped_bytes_total', 'Bytes of old log removed', (v) => v.logDroppedBytes],
];

/** Adds the vacuum's metrics to a node's registry; with them what the node takes up on disk. */
export function addVacuumMetrics(registry: Registry, vacuum: VacuumService, horizon: () => Lsn): void {
  for (const [name, help, value] of TOTALS)
    new Counter({
      name: PREFIX + name,
      help,
      registers: [registry],
      collect() {
        this.reset();
        this.inc(value(vacuum));
      },
    });
  const gauges: [name: string, help: string, value: () => number][] = [
    [`${PREFIX}horizon_lsn_bytes`, 'History before this LSN is not kept', horizon],
    [`${PREFIX}target_lsn_bytes`, 'History before this LSN is not needed', () => vacuum.target()],
    [`${PREFIX}leases`, 'Computes and tools that hold history', () => vacuum.status().leases.length],
    ['aurora_disk_log_bytes', 'Size of the log files', () => vacuum.disk.logBytes],
    ['aurora_disk_pages_bytes', 'Size of the page store', () => vacuum.disk.pagesBytes],
    ['aurora_disk_free_bytes', 'Free space where the node is', () => vacuum.disk.freeBytes],
  ];
  for (const [name, help, value] of gauges)
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
}
