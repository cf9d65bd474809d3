/** The money transfers of bank.ts on whichever compute is the primary, and what was acknowledged of them over all that happens to it. */
import type pg from 'pg';
import { auditBank, createBank, runBank, type BankResult } from './bank.js';
import { eventually } from './cluster.js';
import { PATIENCE_MS, type Computes } from './computes.js';

/** More than any load gets done. */
const IDS_OF_A_LOAD = 10_000_000;

export class WatchedBank {
  nextId = 1;
  private readonly acknowledged = new Set<number>();
  private readonly unknown = new Set<number>();

  private constructor(private readonly computes: Computes) {}

  get acknowledgedCount(): number {
    return this.acknowledged.size;
  }

  static async create(computes: Computes, primary: string): Promise<WatchedBank> {
    const client = await computes.client(primary);
    await createBank(client);
    await client.end();
    return new WatchedBank(computes);
  }

  /** Transfers on the compute until its connections break; `work` breaks them. */
  async loadUntilBroken(primary: string, work: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const clients = [await this.computes.client(primary), await this.computes.client(primary)];
    const before = (await clients[0]!.query('select count(*)::int as n from journal')).rows[0].n as number;
    const firstId = this.nextId;
    // Others that write meanwhile have ids of their own: one that is there already would be taken for one that broke off.
    this.nextId += IDS_OF_A_LOAD;
    const load: Promise<BankResult> = runBank(clients, firstId, stop.signal);
    try {
      const watcher = await this.computes.client(primary);
      await eventually(
        'the load runs',
        async () => (await watcher.query('select count(*)::int as n from journal')).rows[0].n > before + 20,
        PATIENCE_MS,
      );
      await work();
    } finally {
      stop.abort();
      const result = await load;
      for (const id of result.acknowledged) this.acknowledged.add(id);
      for (const id of result.unknown) this.unknown.add(id);
    }
  }

  async audit(name: string): Promise<void> {
    const client = await this.computes.client(name);
    await this.auditBy(client);
    await client.end();
  }

  /** One row by whoever is the primary; the time from `since` until it was accepted. */
  async firstWrite(names: readonly string[], since: number): Promise<{ name: string; ms: number }> {
    const id = this.nextId++;
    for (;;) {
      for (const name of names) {
        try {
          const client = await this.computes.client(name);
          try {
            await client.query('insert into journal values ($1, 1, 2, 0)', [id]);
            this.acknowledged.add(id);
            return { name, ms: performance.now() - since };
          } finally {
            await client.end();
          }
        } catch (err) {
          // Down, starting, or a replica. An insert that broke off may have happened: then it is there already.
          if (/duplicate key/.test((err as Error).message)) this.acknowledged.add(id);
          if (this.acknowledged.has(id)) return { name, ms: performance.now() - since };
        }
      }
      if (performance.now() - since > PATIENCE_MS) throw new Error('nobody takes a write');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** The id's commit was sent and not answered. */
  unsureOf(id: number): void {
    this.unknown.add(id);
  }

  /** Throws unless all that was acknowledged is there as this client sees it, and nothing that nobody made. */
  async auditBy(client: pg.Client): Promise<void> {
    await auditBank(client, this.acknowledged, this.unknown);
  }
}
