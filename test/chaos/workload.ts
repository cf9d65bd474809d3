/**
 * Clients that know what was acknowledged to them. Each transaction moves money between two accounts and appends the client's next number to a
 * table that has no unique constraint, so that a row which came twice would be seen. A reader checks all the while that the sum of all balances
 * never changes, and reads rows that nobody has read since the compute started, so that storage is asked for pages.
 *
 * Every error and every wait is kept with its time. An outage (of the compute) is announced; errors within it are excused.
 */
import type pg from 'pg';
import { Random } from './random.js';

export const ACCOUNTS = 60;
const OPENING = 1000;
const BALLAST_ROWS = 20_000;
const RECONNECT_MS = 100;
/** A client may hear of the end of its connection a little after the outage is over. */
const AFTERMATH_MS = 1500;

export const SCHEMA = `
  create table account (id int primary key, balance bigint not null, filler text not null default repeat('x', 60));
  insert into account (id, balance) select g, ${OPENING} from generate_series(1, ${ACCOUNTS}) g;
  create table entry (client int not null, seq int not null, src int not null, dst int not null, amount int not null, filler text not null);
  create index on entry (client, seq);
  create index on entry using hash (src);
  create table ballast as select g as id, repeat(md5(g::text), 12) as filler from generate_series(1, ${BALLAST_ROWS}) g;
  alter table ballast add primary key (id)`;

/** What one client was told. */
interface Account {
  readonly client: number;
  /** Last number that was used. */
  seq: number;
  readonly acknowledged: Set<number>;
  /** Sent, but never answered: there once, or not at all. */
  readonly unknown: Set<number>;
}

export interface ClientError {
  readonly atMs: number;
  readonly client: string;
  readonly message: string;
  readonly wrongData: boolean;
}

/** Wrong data: no fault excuses it. */
class WrongData extends Error {}

interface Outage {
  readonly fromMs: number;
  toMs: number;
}

export interface LoadReport {
  acknowledged: number;
  /** Outside of every outage. */
  errors: ClientError[];
  excusedErrors: number;
  /** Longest time that a client waited for one transaction outside of outages. */
  longestWaitMs: number;
  reads: number;
}

export class Workload {
  readonly books: Account[];
  private readonly errors: ClientError[] = [];
  private readonly outages: Outage[] = [];
  private readonly waits: { fromMs: number; toMs: number }[] = [];
  private stop = new AbortController();
  private running: Promise<unknown> = Promise.resolve();
  private commits = 0;
  private reads = 0;
  private watchers: (() => void)[] = [];

  constructor(
    private readonly connect: () => Promise<pg.Client>,
    clients: number,
    private readonly seed: number,
  ) {
    this.books = Array.from({ length: clients }, (_, client) => ({
      client,
      seq: 0,
      acknowledged: new Set(),
      unknown: new Set(),
    }));
  }

  /** Begins a round: errors and waits count anew, the books go on. */
  start(): void {
    this.errors.length = this.outages.length = this.waits.length = 0;
    this.commits = this.reads = 0;
    this.stop = new AbortController();
    const { signal } = this.stop;
    this.running = Promise.all([
      ...this.books.map((book) =>
        this.session(`client ${book.client}`, this.seed + book.client, signal, (client, random) =>
          this.transfer(client, random, book),
        ),
      ),
      this.session('reader', this.seed + 1000, signal, (client, random) => this.read(client, random)),
    ]);
  }

  /** Waits for what is under way. */
  async end(timeoutMs = 60_000): Promise<LoadReport> {
    this.stop.abort();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`clients still wait ${timeoutMs} ms after the end`)),
        timeoutMs,
      );
    });
    await Promise.race([this.running, late]).finally(() => clearTimeout(timer));
    const excused = ({ atMs, wrongData }: ClientError): boolean =>
      !wrongData && this.outages.some(({ fromMs, toMs }) => atMs >= fromMs && atMs <= toMs + AFTERMATH_MS);
    const errors = this.errors.filter((err) => !excused(err));
    const waits = this.waits.filter(
      ({ fromMs, toMs }) => !this.outages.some((o) => fromMs <= o.toMs + AFTERMATH_MS && toMs >= o.fromMs),
    );
    return {
      acknowledged: this.commits,
      errors,
      excusedErrors: this.errors.length - errors.length,
      longestWaitMs: waits.reduce((max, { fromMs, toMs }) => Math.max(max, toMs - fromMs), 0),
      reads: this.reads,
    };
  }

  /** From now until the returned function is called, clients may lose their connections, and cannot make new ones. */
  outage(): () => void {
    const outage: Outage = { fromMs: performance.now(), toMs: Infinity };
    this.outages.push(outage);
    return () => {
      outage.toMs = Math.min(outage.toMs, performance.now());
    };
  }

  get committed(): number {
    return this.commits;
  }

  /** Resolves once the clients have committed `n` more transactions; rejects after the time. */
  async progress(n: number, timeoutMs = 60_000): Promise<void> {
    const target = this.commits + n;
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (this.commits < target) return;
        clearTimeout(timer);
        this.watchers = this.watchers.filter((w) => w !== check);
        resolve();
      };
      const timer = setTimeout(() => {
        this.watchers = this.watchers.filter((w) => w !== check);
        const last = this.errors.at(-1);
        reject(
          new Error(
            `${this.commits - target + n} of ${n} transactions within ${timeoutMs} ms${last ? `; last error: ${last.message}` : ''}`,
          ),
        );
      }, timeoutMs);
      this.watchers.push(check);
    });
  }

  /** Throws unless the database holds exactly what the clients were told. Gives the rows that are there. */
  async audit(client: pg.Client): Promise<number> {
    const { rows: sums } = await client.query(
      'select sum(balance)::text as total, count(*)::int as n from account',
    );
    if (sums[0].n !== ACCOUNTS || sums[0].total !== String(ACCOUNTS * OPENING))
      throw new Error(`the sum of balances is ${sums[0].total} over ${sums[0].n} accounts`);
    const { rows: wrong } = await client.query(`
      select a.id, a.balance, ${OPENING} + coalesce(i.amount, 0) - coalesce(o.amount, 0) as expected from account a
      left join (select dst, sum(amount) as amount from entry group by dst) i on i.dst = a.id
      left join (select src, sum(amount) as amount from entry group by src) o on o.src = a.id
      where a.balance <> ${OPENING} + coalesce(i.amount, 0) - coalesce(o.amount, 0)`);
    if (wrong.length > 0)
      throw new Error(`balances do not match the entries: ${JSON.stringify(wrong.slice(0, 3))}`);
    const { rows } = await client.query('select client, seq, count(*)::int as n from entry group by 1, 2');
    const there = new Map<number, Set<number>>(this.books.map((book) => [book.client, new Set()]));
    for (const row of rows as { client: number; seq: number; n: number }[]) {
      if (row.n !== 1) throw new Error(`client ${row.client}, number ${row.seq} is there ${row.n} times`);
      there.get(row.client)!.add(row.seq);
    }
    for (const { client: name, acknowledged, unknown } of this.books) {
      const present = there.get(name)!;
      const lost = [...acknowledged].filter((seq) => !present.has(seq));
      if (lost.length > 0)
        throw new Error(
          `client ${name}: ${lost.length} acknowledged transactions are lost, the first is ${lost[0]}`,
        );
      const ghosts = [...present].filter((seq) => !acknowledged.has(seq) && !unknown.has(seq));
      if (ghosts.length > 0) throw new Error(`client ${name}: number ${ghosts[0]} was never sent`);
    }
    return rows.length;
  }

  private async session(
    name: string,
    seed: number,
    stop: AbortSignal,
    work: (client: pg.Client, random: Random) => Promise<void>,
  ): Promise<void> {
    const random = new Random(seed + this.books.reduce((sum, { seq }) => sum + seq, 0));
    let client: pg.Client | null = null;
    while (!stop.aborted) {
      try {
        client ??= await this.connect();
        await work(client, random);
      } catch (err) {
        this.errors.push({
          atMs: performance.now(),
          client: name,
          message: (err as Error).message,
          wrongData: err instanceof WrongData,
        });
        await client?.end().catch(() => undefined); // what is broken may fail to end, too
        client = null;
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
      }
    }
    await client?.end().catch(() => undefined);
  }

  private async transfer(client: pg.Client, random: Random, book: Account): Promise<void> {
    const seq = ++book.seq;
    const src = 1 + random.below(ACCOUNTS);
    const dst = 1 + ((src + random.below(ACCOUNTS - 1)) % ACCOUNTS);
    const [low, high] = src < dst ? [src, dst] : [dst, src];
    const amount = 1 + random.below(100);
    const change = (id: number): string =>
      `update account set balance = balance + case when id = ${src} then -${amount} else ${amount} end where id = ${id}`;
    const begun = performance.now();
    book.unknown.add(seq);
    await client.query(
      `begin; ${change(low)}; ${change(high)};
       insert into entry values (${book.client}, ${seq}, ${src}, ${dst}, ${amount}, repeat('${seq % 10}', ${random.below(200)})); commit`,
    );
    book.acknowledged.add(seq);
    book.unknown.delete(seq);
    this.waits.push({ fromMs: begun, toMs: performance.now() });
    this.commits++;
    for (const watcher of this.watchers) watcher();
  }

  private async read(client: pg.Client, random: Random): Promise<void> {
    const { rows } = await client.query('select sum(balance)::text as total from account');
    if (rows[0].total !== String(ACCOUNTS * OPENING))
      throw new WrongData(`a reader saw a sum of balances of ${rows[0].total}`);
    const id = 1 + random.below(BALLAST_ROWS);
    const found = await client.query(
      `select filler = repeat(md5(id::text), 12) as right from ballast where id = ${id}`,
    );
    if (found.rows[0]?.right !== true) throw new WrongData(`row ${id} of ballast is not as it was written`);
    this.reads++;
  }
}
