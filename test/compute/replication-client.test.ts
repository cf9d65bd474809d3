/**
 * The replication client against a real PostgreSQL (the bytes of its WAL, commits that wait for our word, refusals in its words), and
 * against a server that talks nonsense: then it ends with a coded error, in time, whatever came.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { ReplicationClient } from '../../src/compute/replication-client.js';
import type { DbError } from '../../src/engine/errors.js';
import { isDbError } from '../../src/engine/errors.js';
import { lsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import { eventually } from '../helpers/cluster.js';
import { startPlainPostgres, type PlainPostgres } from '../helpers/plain-postgres.js';
import { AUTH_OK, COPY_BOTH, FakePostgres, message, READY, refusal, row, walData } from './fake-postgres.js';

const SEGMENT = 16 * 1024 * 1024;

describe('ReplicationClient and PostgreSQL', function () {
  this.timeout(60_000);
  let plain: PlainPostgres;
  const clients: ReplicationClient[] = [];

  before(async () => {
    plain = await startPlainPostgres({
      settings: { wal_level: 'replica', max_wal_senders: '3', max_replication_slots: '2' },
    });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.destroy();
  });
  after(async () => plain?.destroy());

  async function connect(user = 'postgres'): Promise<ReplicationClient> {
    const client = await ReplicationClient.connect({
      socketDir: plain.socketDir,
      port: plain.port,
      user,
      applicationName: 'test',
    });
    clients.push(client);
    return client;
  }

  async function stream(): Promise<{
    client: ReplicationClient;
    begin: Lsn;
    received(): Buffer;
    ended: Promise<DbError | null>;
  }> {
    const client = await connect();
    await client.ensureSlot('test');
    const { flushLsn, timeline } = await client.identifySystem();
    const parts: Buffer[] = [];
    let at: number = flushLsn;
    let end: (reason: DbError | null) => void;
    const ended = new Promise<DbError | null>((resolve) => (end = resolve));
    await client.startStreaming('test', flushLsn, timeline, {
      onWal: (begin, bytes) => {
        assert.equal(begin, at, 'the stream has a gap');
        at += bytes.length;
        parts.push(bytes);
      },
      onReplyRequested: () => client.sendStatus(lsn(at)),
      onEnd: (reason) => end(reason),
    });
    return { client, begin: flushLsn, received: () => Buffer.concat(parts), ended };
  }

  it('streams the very bytes of the WAL', async () => {
    const { begin, received } = await stream();
    await plain.sql(
      `create table if not exists s (v text); insert into s select repeat('x', 500) from generate_series(1, 3000); select pg_switch_wal()`,
    );
    await plain.sql(`insert into s values ('last')`);
    const end = parseLsn(
      (await plain.sql('select pg_current_wal_flush_lsn()::text as at'))[0]!['at'] as string,
    );
    await eventually('all has come', () => begin + received().length >= end);
    const got = received();
    for (let at: number = begin; at < end;) {
      const number = Math.floor(at / SEGMENT);
      const file = path.join(
        plain.dataDir,
        'pg_wal',
        `00000001${'0'.repeat(8)}${number.toString(16).toUpperCase().padStart(8, '0')}`,
      );
      const upTo = Math.min(end, (number + 1) * SEGMENT);
      const expected = readFileSync(file).subarray(at % SEGMENT, (at % SEGMENT) + upTo - at);
      assert.ok(got.subarray(at - begin, upTo - begin).equals(expected), `segment ${number}`);
      at = upTo;
    }
  });

  it('a commit waits until we say that it is durable, and the slot moves with it', async () => {
    const { client, begin, received } = await stream();
    await plain.sql(`alter system set synchronous_standby_names = 'test'`);
    await plain.sql('select pg_reload_conf()');
    await eventually('it is synchronous', async () => {
      client.sendStatus(begin);
      return (await plain.sql('select sync_state from pg_stat_replication'))[0]?.['sync_state'] === 'sync';
    });
    let done = false;
    const commit = plain.sql(`create table w (v int)`).then(() => (done = true));
    await eventually('its WAL has come', () => received().length > 0);
    client.sendStatus(begin);
    await new Promise((resolve) => setTimeout(resolve, 100)); // time in which it could go wrong
    assert.equal(done, false);
    await eventually('all is reported', () => {
      client.sendStatus(lsn(begin + received().length));
      return done;
    });
    await commit;
    const end = begin + received().length;
    await eventually('the slot holds no more than that', async () => {
      const [slot] = await plain.sql('select restart_lsn::text as at from pg_replication_slots');
      return parseLsn(slot!['at'] as string) >= end - 8192;
    });
    await plain
      .sql(`set synchronous_commit = local; alter system reset synchronous_standby_names`)
      .catch(async () => {
        // ALTER SYSTEM does not run in the implicit transaction of two statements.
        await plain.sql('alter system reset synchronous_standby_names');
      });
    await plain.sql('select pg_reload_conf()');
  });

  it('our connection is not ended for being silent', async () => {
    await plain.sql(`alter system set wal_sender_timeout = '200ms'`);
    await plain.sql('select pg_reload_conf()');
    const { client, ended } = await stream();
    client.pause();
    const outcome = await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 700, 'open'))]);
    await plain.sql('alter system reset wal_sender_timeout');
    assert.equal(outcome, 'open');
  });

  it('makes the slot once', async () => {
    const client = await connect();
    await client.ensureSlot('test');
    await client.ensureSlot('test');
    assert.equal((await plain.sql('select count(*)::int as n from pg_replication_slots'))[0]!['n'], 1);
  });

  it("refusals come in PostgreSQL's words, with SQLSTATE, and the connection can go on", async () => {
    await assert.rejects(
      connect('nobody_here'),
      (err) =>
        isDbError(err, 'NET_PG_REFUSED') &&
        /nobody_here/.test(err.message) &&
        err.details?.['sqlstate'] === '28000',
    );
    const client = await connect();
    await assert.rejects(
      client.query('NONSENSE'),
      (err) => isDbError(err, 'NET_PG_REFUSED') && /cannot execute SQL commands/.test(err.message),
    );
    await client.ensureSlot('test');
    assert.equal((await client.identifySystem()).timeline, 1);
    await client.ensureSlot('second');
    await assert.rejects(
      client.ensureSlot('third'),
      (err) => isDbError(err, 'NET_PG_REFUSED') && err.details?.['sqlstate'] === '53400',
    );
    await client.query('DROP_REPLICATION_SLOT "second"');
  });

  it('is told when it asks for WAL that is not there', async () => {
    const client = await connect();
    await client.ensureSlot('test');
    const reason = await new Promise<DbError | null>((resolve, reject) => {
      const handlers = { onWal: () => undefined, onReplyRequested: () => undefined, onEnd: resolve };
      client.startStreaming('test', lsn(2 ** 50), 1, handlers).catch(reject);
    });
    assert.ok(isDbError(reason, 'NET_PG_REFUSED') && /ahead of the WAL flush position/.test(reason.message));
  });

  it('tells when PostgreSQL ends the stream', async () => {
    const { ended } = await stream();
    await plain.sql('select pg_terminate_backend(pid) from pg_stat_replication');
    const reason = await ended;
    assert.ok(isDbError(reason) && reason.code.startsWith('NET_PG_'), String(reason));
  });

  it('says so when nobody listens', async () => {
    await assert.rejects(
      ReplicationClient.connect({
        socketDir: plain.socketDir,
        port: 1,
        user: 'postgres',
        applicationName: 'x',
      }),
      (err) => isDbError(err, 'NET_PG_LOST') && err.message.includes('.s.PGSQL.1'),
    );
  });
});

describe('ReplicationClient and a server that talks nonsense', function () {
  this.timeout(60_000);

  /** Everything that a client does, against a server that sends `said` (and hangs up, or not). Every step ends with a DbError or works. */
  async function talk(said: readonly Buffer[], hangUp: boolean): Promise<string[]> {
    const fake = await FakePostgres.listen((socket) => {
      for (const part of said) socket.write(part);
      if (hangUp) socket.end();
    });
    const codes: string[] = [];
    const step = async (work: () => Promise<unknown>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (err) {
        if (!isDbError(err)) throw err;
        codes.push(err.code);
        return false;
      }
    };
    try {
      let client: ReplicationClient | null = null;
      const options = {
        socketDir: fake.socketDir,
        port: fake.port,
        user: 'u',
        applicationName: 'x',
        answerMs: 60,
      };
      if (await step(async () => (client = await ReplicationClient.connect(options)))) {
        const c = client as unknown as ReplicationClient;
        const handlers = {
          onWal: () => undefined,
          onReplyRequested: () => c.sendStatus(lsn(1)),
          onEnd: (err: DbError | null) => codes.push(err?.code ?? 'end'),
        };
        if ((await step(() => c.identifySystem())) && (await step(() => c.ensureSlot('s'))))
          await step(() => c.startStreaming('s', lsn(8), 1, handlers));
        await new Promise((resolve) => setTimeout(resolve, 5)); // whatever came with the last answer
        c.destroy();
      }
      return codes;
    } finally {
      await fake.close();
    }
  }

  /** A whole conversation that works, as one run of bytes. */
  const SCRIPT = Buffer.concat([AUTH_OK, message('S', Buffer.from('a\0b\0')), READY, row('7', '1', '0/8'), READY, READY, COPY_BOTH, walData(lsn(8), Buffer.alloc(40)), message('d', Buffer.concat([Buffer.from('k'), Buffer.alloc(16), Buffer.from([1])])), message('c')]); // prettier-ignore

  it('knows its part of the conversation', async () => {
    // Answers wait for their questions, so that this is the one that all the others are cut from.
    const got: Buffer[] = [];
    const fake = await FakePostgres.walsender('7', (socket) => {
      socket.write(walData(lsn(8), Buffer.from('wal!')));
      socket.write(message('c'));
    });
    const client = await ReplicationClient.connect({
      socketDir: fake.socketDir,
      port: 5432,
      user: 'u',
      applicationName: 'x',
    });
    assert.equal((await client.identifySystem()).systemId, 7n);
    await client.ensureSlot('s');
    await new Promise<void>((resolve, reject) => {
      client
        .startStreaming('s', lsn(8), 1, {
          onWal: (_, bytes) => got.push(bytes),
          onReplyRequested: () => undefined,
          onEnd: (err) => (err ? reject(err) : resolve()),
        })
        .catch(reject);
    });
    assert.equal(Buffer.concat(got).toString(), 'wal!');
    client.destroy();
    await fake.close();
  });

  it('cut at any byte', async () => {
    for (let cut = 0; cut < SCRIPT.length; cut += 3) await talk([SCRIPT.subarray(0, cut)], true);
  });

  it('any bytes, and any damage to good ones', async () => {
    const junk = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes));
    const damaged = fc
      .array(fc.tuple(fc.nat(SCRIPT.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((edits) => {
        const bytes = Buffer.from(SCRIPT);
        for (const [at, value] of edits) bytes[at] = value;
        return bytes;
      });
    const short = fc
      .tuple(fc.constantFrom('R', 'D', 'E', 'd', 'Z', 'W', 'c'), junk)
      .map(([type, body]) => Buffer.concat([AUTH_OK, READY, message(type, body)]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(junk, damaged, short), fc.boolean(), async (bytes, hangUp) => {
        await talk([bytes], hangUp);
      }),
      { numRuns: 80 },
    );
  });

  const cases: [what: string, said: Buffer, code: string][] = [
    ['silence', Buffer.alloc(0), 'NET_PG_TIMEOUT'],
    ['a message of impossible length', Buffer.from([0x52, 0, 0, 0, 3]), 'NET_PG_PROTOCOL'],
    ['a message longer than anything', Buffer.from([0x52, 0x7f, 0xff, 0xff, 0xff]), 'NET_PG_PROTOCOL'],
    ['a password request', message('R', Buffer.from([0, 0, 0, 10])), 'NET_PG_REFUSED'],
    ['an authentication message without its number', message('R'), 'NET_PG_PROTOCOL'],
    ['a refusal and then silence', refusal('53300', 'too many'), 'NET_PG_REFUSED'],
  ];
  for (const [what, said, code] of cases) {
    it(`${what}: ${code}`, async () => assert.deepEqual(await talk([said], false), [code]));
  }
  it('a refusal and a hang-up: the refusal is what is told', async () =>
    assert.deepEqual(await talk([refusal('53300', 'too many')], true), ['NET_PG_REFUSED']));
});
