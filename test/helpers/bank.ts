/**
 * A money-transfer load that knows what was acknowledged. Each transfer moves money between two accounts and appends a row with a
 * unique id to a journal, in one transaction. After a crash: every acknowledged id must be there; an id whose COMMIT was not
 * answered may be there or not, but then wholly: the balances must equal the journal's effect, and their sum is constant.
 */
import type pg from 'pg';

export const ACCOUNTS = 200;
export const OPENING = 1000;

export interface BankResult {
  acknowledged: Set<number>;
  /** Sent, but the answer never came. */
  unknown: Set<number>;
  errors: string[];
}

export async function createBank(client: pg.Client): Promise<void> {
  await client.query(`
    create table account (id int primary key, balance bigint not null, filler text not null default repeat('x', 60));
    create table journal (id bigint primary key, src int not null references account, dst int not null references account, amount bigint not null);
    create index on journal (src);
    insert into account (id, balance) select g, ${OPENING} from generate_series(1, ${ACCOUNTS}) g;
  `);
}

/** Runs transfers on each client until `stop` is aborted or its connection breaks. Ids start at `firstId`. */
export async function runBank(
  clients: readonly pg.Client[],
  firstId: number,
  stop: AbortSignal,
): Promise<BankResult> {
  const result: BankResult = { acknowledged: new Set(), unknown: new Set(), errors: [] };
  let next = firstId;
  const worker = async (client: pg.Client, n: number): Promise<void> => {
    let seed = (firstId * 31 + n * 7919) >>> 0;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    while (!stop.aborted) {
      const id = next++;
      const src = 1 + random(ACCOUNTS);
      const dst = 1 + ((src + random(ACCOUNTS - 1)) % ACCOUNTS);
      const [low, high] = src < dst ? [src, dst] : [dst, src];
      const amount = 1 + random(100);
      try {
        await client.query(
          `begin; update account set balance = balance + case when id = ${src} then -${amount} else ${amount} end where id = ${low};
           update account set balance = balance + case when id = ${src} then -${amount} else ${amount} end where id = ${high};
           insert into journal values (${id}, ${src}, ${dst}, ${amount}); commit`,
        );
        result.acknowledged.add(id);
      } catch (err) {
        result.unknown.add(id);
        result.errors.push((err as Error).message);
        return; // the connection is gone, or the server said no: either way this session is over
      }
    }
  };
  await Promise.all(clients.map(worker));
  return result;
}

/** Throws unless the books are exact and every acknowledged transfer is in them. Returns how many transfers there are. */
export async function auditBank(
  client: pg.Client,
  acknowledged: ReadonlySet<number>,
  unknown: ReadonlySet<number>,
): Promise<number> {
  const { rows: sums } = await client.query(
    'select sum(balance)::text as total, count(*)::int as n from account',
  );
  if (sums[0].n !== ACCOUNTS || sums[0].total !== String(ACCOUNTS * OPENING))
    throw new Error(`the sum of balances is ${sums[0].total} over ${sums[0].n} accounts`);
  const { rows: wrong } = await client.query(`
    select a.id, a.balance, ${OPENING} + coalesce(i.amount, 0) - coalesce(o.amount, 0) as expected from account a
    left join (select dst, sum(amount) as amount from journal group by dst) i on i.dst = a.id
    left join (select src, sum(amount) as amount from journal group by src) o on o.src = a.id
    where a.balance <> ${OPENING} + coalesce(i.amount, 0) - coalesce(o.amount, 0)`);
  if (wrong.length > 0)
    throw new Error(`balances do not match the journal: ${JSON.stringify(wrong.slice(0, 3))}`);
  const { rows } = await client.query('select id::text from journal');
  const present = new Set(rows.map((row) => Number(row.id)));
  const lost = [...acknowledged].filter((id) => !present.has(id));
  if (lost.length > 0)
    throw new Error(`${lost.length} acknowledged transfers are lost, the first is ${lost[0]}`);
  const ghosts = [...present].filter((id) => !acknowledged.has(id) && !unknown.has(id));
  if (ghosts.length > 0)
    throw new Error(`${ghosts.length} transfers are there that nobody made, the first is ${ghosts[0]}`);
  return present.size;
}
