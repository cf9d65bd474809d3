import { Counter, Gauge, type Registry } from 'prom-client';
import type { GossipService, GossipTotals } from './gossip-service.js';

const PREFIX = 'aurora_gossip_';

const TOTALS: Record<
  Exclude<keyof GossipTotals, 'sent' | 'received' | 'sentBytes'>,
  [name: string, help: string]
> = {
  rounds: ['rounds_total', 'Rounds of gossip: in each, one member is probed and news are exchanged with it'],
  probes: ['probes_total', 'Members probed'],
  probesFailed: ['probes_failed_total', 'Probes that neither the member nor any helper answered'],
  indirectProbes: ['indirect_probes_total', 'Members asked to probe one that did not answer'],
  suspicions: ['suspicions_total', 'Members suspected, on own evidence or on word of others'],
  deaths: ['deaths_total', 'Members taken for dead, on own evidence or on word of others'],
  refutations: ['refutations_total', 'Suspicions against this node that it contradicted'],
  membersRefused: ['members_refused_total', 'Members not taken in because there were too many'],
  refused: ['messages_refused_total', 'Malformed messages'],
  unsent: ['messages_unsent_total', 'Messages dropped for want of a connection that takes them'],
};

/** Adds gossip's metrics to a node's registry. */
export function addGossipMetrics(registry: Registry, gossip: GossipService): void {
  for (const [key, [name, help]] of Object.entries(TOTALS) as [keyof typeof TOTALS, [string, string]][])
    counter(registry, name, help, [], (metric) => metric.inc(gossip.totals[key]));
  counter(registry, 'sent_bytes_total', 'Bytes of messages sent', [], (metric) =>
    metric.inc(gossip.totals.sentBytes),
  );
  for (const way of ['sent', 'received'] as const)
    counter(registry, `messages_${way}_total`, `Messages ${way}`, ['kind'], (metric) => {
      for (const [kind, count] of Object.entries(gossip.totals[way])) metric.inc({ kind }, count);
    });
  gauge(registry, 'members', 'Members by their state here', ['state'], (metric) => {
    for (const [state, count] of Object.entries(gossip.memberCounts())) metric.set({ state }, count);
  });
  gauge(registry, 'incarnation', "This node's incarnation", [], (metric) => metric.set(gossip.incarnation));
  gauge(registry, 'news_age_seconds', 'Age of the news of each other member', ['member'], (metric) => {
    for (const { id, self, newsAgeMs } of gossip.view().members)
      if (!self && newsAgeMs !== null) metric.set({ member: id }, newsAgeMs / 1000);
  });
}

function counter<T extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: T[],
  collect: (metric: Counter<T>) => void,
): void {
  new Counter<T>({
    name: PREFIX + name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      collect(this);
    },
  });
}

function gauge<T extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: T[],
  collect: (metric: Gauge<T>) => void,
): void {
  new Gauge<T>({
    name: PREFIX + name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      collect(this);
    },
  });
}
