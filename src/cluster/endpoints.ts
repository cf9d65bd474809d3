/**
 * Connection strings for clients of all computes, in libpq's own words (PostgreSQL 16 and newer, and every driver on it): several hosts,
 * target_session_attrs to tell the primary from its replicas, load_balance_hosts to spread readers. A client that connects anew after a
 * failover finds the new primary by the same string.
 */
export interface Endpoints {
  /** The primary, whichever compute it is at the moment. */
  writer: string;
  /** A replica; the primary when there is none. */
  reader: string;
  /** Any compute. */
  any: string;
}

export type EndpointName = keyof Endpoints;

export interface EndpointOptions {
  superuser: string;
  socketDir: string;
  /** The primary's first. */
  ports: readonly number[];
}

/** With one compute there is nothing to choose from: all three are the same, plain, string. */
export function endpoints({ superuser, socketDir, ports }: EndpointOptions): Endpoints {
  const base = `postgresql://${encodeURIComponent(superuser)}@/postgres`;
  const all = ports.length === 0 ? [5432] : ports;
  const hosts = `?host=${all.map(() => encodeURIComponent(socketDir)).join(',')}&port=${all.join(',')}`;
  if (all.length === 1) return { writer: base + hosts, reader: base + hosts, any: base + hosts };
  return {
    writer: `${base}${hosts}&target_session_attrs=read-write`,
    reader: `${base}${hosts}&target_session_attrs=prefer-standby&load_balance_hosts=random`,
    any: `${base}${hosts}&target_session_attrs=any&load_balance_hosts=random`,
  };
}
