/** What PostgreSQL itself counts, for `aurora top` and `aurora status`. */
import type pg from 'pg';
import { sessionOptions, UNHINDERED } from '../compute/session-settings.js';
import type { ClusterReport, ComputeReport } from './status.js';

export interface ServerSample {
  commits: number;
  rollbacks: number;
  blocksHit: number;
  blocksRead: number;
  sessions: number;
  activeSessions: number;
  commitLatencyMs: number | null;
}

const CONNECT_MS = 2000;
const QUERY_MS = 2000;

/** flush_lag is the time from the local flush to the synchronous standby's word, and that standby is the write quorum. */
const QUERY = `
  select sum(xact_commit)::float8 as commits, sum(xact_rollback)::float8 as rollbacks, sum(blks_hit)::float8 as "blocksHit",
         sum(blks_read)::float8 as "blocksRead",
         (select count(*)::int from pg_catalog.pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) as sessions,
         (select count(*)::int from pg_catalog.pg_stat_activity
          where backend_type = 'client backend' and pid <> pg_backend_pid() and state = 'active') as "activeSessions",
         (select (extract(epoch from max(flush_lag)) * 1000)::float8 from pg_catalog.pg_stat_replication
          where sync_state in ('sync', 'quorum')) as "commitLatencyMs"
  from pg_catalog.pg_stat_database`;

/** One session, kept from one look to the next. */
export class ServerSampler {
  private client: pg.Client | null = null;
  private closed = false;

  /** `program`: the session's application_name. */
  constructor(private readonly program: string) {}

  /** Null while PostgreSQL lets nobody in: what it counts is then unknown, and the rest of the picture is not. */
  async look(server: { host: string; port: number; user: string }): Promise<ServerSample | null> {
    try {
      this.client ??= await this.connect(server);
      if (this.closed) throw new Error('closed meanwhile');
      const { rows } = await this.client.query<ServerSample>(QUERY);
      return rows[0] ?? null;
    } catch {
      await this.drop();
      return null;
    }
  }

  /** Also while a look is under way: nothing is left open by it. */
  async close(): Promise<void> {
    this.closed = true;
    await this.drop();
  }

  private async drop(): Promise<void> {
    const { client } = this;
    this.client = null;
    await client?.end().catch(() => undefined); // it has ended already
  }

  private async connect(server: { host: string; port: number; user: string }): Promise<pg.Client> {
    const { default: postgres } = await import('pg');
    const client = new postgres.Client({
      ...server,
      database: 'postgres',
      password: process.env['PGPASSWORD'],
      application_name: this.program,
      connectionTimeoutMillis: CONNECT_MS,
      query_timeout: QUERY_MS,
      options: sessionOptions(UNHINDERED),
    });
    client.on('error', () => void this.drop()); // the server has ended: the next look connects again
    await client.connect();
    return client;
  }
}

/** Fills in `cacheHitRatio` of each of these computes whose PostgreSQL lets us in; asking costs a session each. */
export async function askCacheHits(
  { socketDir, superuser }: Pick<ClusterReport, 'socketDir' | 'superuser'>,
  computes: readonly ComputeReport[],
): Promise<void> {
  const ask = async (compute: ComputeReport): Promise<void> => {
    const sampler = new ServerSampler('aurora status');
    const counted = await sampler.look({ host: socketDir, port: compute.port, user: superuser });
    await sampler.close();
    const { blocksHit = 0, blocksRead = 0 } = counted ?? {};
    if (blocksHit + blocksRead > 0) compute.cacheHitRatio = blocksHit / (blocksHit + blocksRead);
  };
  await Promise.all(computes.filter(({ postgresPid }) => postgresPid !== null).map(ask));
}
