/**
 * A log that storage cannot replay, or not even decode: ingest stops before the record on every node, nothing is skipped, and `aurora status`,
 * `aurora inspect` and `aurora start` say where and why, in words and as JSON. The record is appended by a writer of our own: an extension's
 * record, and one whose checksum is wrong, which PostgreSQL itself would not have sent.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ClusterReport } from '../../src/cluster/status.js';
import { formatLsn, lsn, parseLsn, type Lsn } from '../../src/engine/lsn.js';
import type { EpochHistory } from '../../src/engine/quorum/types.js';
import { encodeRecord, placeRecord, type PlacedRecord } from '../../src/engine/wal/writer.js';
import { loadSecret } from '../../src/net/secret.js';
import { StorageClient } from '../../src/net/storage-client.js';
import { eventually, TestCluster } from '../helpers/cluster.js';
import { aurora, type CliResult } from './cli.js';

const MIB = 1024 * 1024;

/** A running cluster whose compute is dead, with a relation of one page. */
class BrokenCluster {
  /** SPC/DB/REL of a table with one row. */
  relation = '';
  placed!: PlacedRecord;
  /** End of the last record before ours. */
  applied!: Lsn;

  private constructor(readonly cluster: TestCluster) {}

  static async make(storageNodes: number, damage: 'unknown' | 'checksum'): Promise<BrokenCluster> {
    const cluster = await TestCluster.start({ storageNodes, writeQuorum: Math.ceil((storageNodes + 1) / 2) });
    try {
      const broken = new BrokenCluster(cluster);
      await broken.prepare(damage);
      return broken;
    } catch (err) {
      const log = await cluster.logs();
      await cluster.destroy();
      throw new Error(`${(err as Error).message}\n${log}`, { cause: err });
    }
  }

  run(...args: string[]): Promise<CliResult> {
    return aurora(args, { env: { AURORA_HOME: this.cluster.layout.root } });
  }

  async report(): Promise<ClusterReport> {
    return JSON.parse((await this.run('status', '--json')).stdout) as ClusterReport;
  }

  private async prepare(damage: 'unknown' | 'checksum'): Promise<void> {
    const { cluster } = this;
    const rows = await cluster.sql(
      `create table kept as select 1 as id; checkpoint;
       select format('%s/%s/%s', 1663, d.oid, pg_relation_filenode('kept')) as rel from pg_database d where datname = current_database()`,
    );
    this.relation = rows[0]!['rel'] as string;
    await cluster.killCompute();
    await eventually('the nodes are equal', async () => {
      const { storage } = await cluster.status();
      return storage.every((node) => node.scl === storage[0]!.scl);
    });
    await this.append(damage);
    await eventually('ingest stops everywhere', async () => {
      const { storage } = await cluster.status();
      return storage.every((node) => node.problem !== null);
    });
  }

  /** As a compute of the next epoch would, but on all nodes alike. */
  private async append(damage: 'unknown' | 'checksum'): Promise<void> {
    const { cluster } = this;
    const { volume } = await cluster.status();
    const secret = loadSecret(cluster.layout.secret);
    const epoch = volume.epoch! + 1;
    const writerId = 'test';
    let next: EpochHistory | undefined;
    for (const node of cluster.storageNodes) {
      const client = await StorageClient.connect(node, { secret, volumeId: volume.id, role: 'compute', clientId: writerId }); // prettier-ignore
      try {
        const { configuration } = await client.configuration();
        const known = configuration ? { configuration } : {};
        assert.equal((await client.promise({ epoch, writerId, ...known })).granted, true);
        // As the first node has them: the others may have got the epoch from it by the time that we come to them.
        if (!next) {
          const { history } = await client.status();
          const { recordStart, recordEnd } = await client.logTail(undefined, epoch);
          this.applied = recordEnd;
          this.placed = this.record(recordStart, recordEnd, BigInt(volume.systemIdentifier), damage);
          next = [...history, { epoch, startLsn: recordEnd }];
        }
        const recordEnd = this.applied;
        assert.equal((await client.startEpoch({ epoch, writerId, handshake: 1, history: next, ...known })).accepted, true); // prettier-ignore
        const { bytes, endLsn } = this.placed;
        const acked = once(client, 'ack');
        client.append({ epoch, begin: recordEnd, commitLsn: recordEnd, bytes });
        await acked;
        client.append({ epoch, begin: endLsn, commitLsn: endLsn, bytes: Buffer.alloc(0) });
      } finally {
        client.close();
      }
    }
  }

  private record(prevLsn: Lsn, at: Lsn, systemId: bigint, damage: 'unknown' | 'checksum'): PlacedRecord {
    const rmid = damage === 'unknown' ? 128 : 21;
    const raw = encodeRecord({ rmid, info: 0x10, xid: 0, prevLsn, mainData: Buffer.from('an extension') });
    if (damage === 'checksum') raw[20]! ^= 1;
    return placeRecord(raw, at, { segmentSize: 16 * MIB, systemId, timeline: 1 });
  }
}

describe('a record that cannot be replayed', function () {
  this.timeout(120_000);
  let broken: BrokenCluster;
  let at: string;
  let applied: string;

  before(async () => {
    broken = await BrokenCluster.make(3, 'unknown');
    at = formatLsn(broken.placed.startLsn);
    applied = formatLsn(broken.applied);
  });
  after(async () => broken?.cluster.destroy());

  it('shows in the status of every node, with its LSN', async () => {
    const { status, stdout } = await broken.run('status');
    assert.equal(status, 3, 'the compute does not run');
    for (const id of ['1', '2', '3'])
      assert.match(stdout, new RegExp(`^storage ${id}: ingest stopped at ${at}: cannot replay the record at ${at}: .*resource manager 128.* \\(REDO_[A-Z_]+\\)$`, 'm')); // prettier-ignore
  });

  it('shows in the status as JSON', async () => {
    const { storage } = await broken.report();
    assert.equal(storage.length, 3);
    for (const node of storage) {
      const { code, lsn, message } = node.ingestError!;
      assert.match(code, /^REDO_[A-Z_]+$/);
      assert.equal(lsn, at);
      assert.match(message, new RegExp(`^cannot replay the record at ${at}: .*resource manager 128`));
      assert.match(node.problem!, /^ingest stopped at /);
      assert.equal(node.applied, applied, 'nothing beyond it is applied');
      assert.ok(parseLsn(node.commit!) > broken.applied, 'the log goes on');
    }
  });

  it('is listed by inspect wal, which needs no ingest', async () => {
    const { status, stdout, stderr } = await broken.run('inspect', 'wal', '--start', applied);
    assert.equal(status, 0, stderr);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^rmgr: custom128 .* desc: UNKNOWN \(10\) rmid: 128$/);
  });

  it('keeps inspect page from what comes after it, and from nothing before', async () => {
    const refused = await broken.run('inspect', 'page', broken.relation, '0');
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, new RegExp(`^aurora inspect page: error: this node cannot replay the log beyond ${at}: REDO_[A-Z_]+: cannot replay the record at ${at}: .*128`, 'm')); // prettier-ignore
    assert.match(refused.stderr, new RegExp(`^aurora inspect page: hint: Pages can be inspected up to LSN ${applied}: --lsn ${applied}$`, 'm')); // prettier-ignore
    const json = await broken.run('inspect', 'page', broken.relation, '0', '--json');
    assert.equal(json.status, 1);
    const { error } = JSON.parse(json.stdout) as { error: { code: string; message: string } };
    assert.equal(error.code, 'INGEST_STOPPED');
    assert.ok(error.message.includes(at));
    const before = await broken.run('inspect', 'page', broken.relation, '0', '--lsn', applied);
    assert.equal(before.status, 0, before.stderr);
    assert.match(before.stdout, /Heap/i);
  });

  it('keeps a compute from starting, which says why', async () => {
    const { status, stderr } = await broken.run('start', '--timeout', '60');
    assert.equal(status, 1);
    assert.match(stderr, /resource manager 128/);
    assert.ok(stderr.includes(at), stderr);
  });
});

describe('a record that cannot be decoded', function () {
  this.timeout(120_000);
  let broken: BrokenCluster;
  let at: string;

  before(async () => {
    broken = await BrokenCluster.make(1, 'checksum');
    at = formatLsn(broken.placed.startLsn);
  });
  after(async () => broken?.cluster.destroy());

  it('shows in the status, with its LSN', async () => {
    const { stdout } = await broken.run('status');
    const said = new RegExp(
      `^storage 1: ingest stopped at ${at}: WAL record at ${at} has checksum .* \\(WAL_BAD_CRC\\)$`,
      'm',
    );
    assert.match(stdout, said);
    const [node] = (await broken.report()).storage;
    assert.equal(node!.ingestError!.code, 'WAL_BAD_CRC');
    assert.equal(node!.ingestError!.lsn, at);
    assert.equal(node!.applied, formatLsn(broken.applied));
  });

  it('ends inspect wal with an error that names it, after all records before it', async () => {
    const from = formatLsn(lsn(broken.applied - 2000));
    for (const where of [[], [`${broken.cluster.layout.root}/storage/1`]]) {
      for (const json of [false, true]) {
        const args = ['inspect', 'wal', ...where, '--start', from, ...(json ? ['--json'] : [])];
        const { status, stdout, stderr } = await broken.run(...args);
        assert.equal(status, 1, stderr);
        assert.match(stderr, new RegExp(`^aurora inspect wal: error: error in WAL record at [0-9A-F/]+: WAL record at ${at} has checksum`, 'm')); // prettier-ignore
        const lines = stdout.trimEnd().split('\n');
        assert.ok(lines.length > 3);
        if (!json) continue;
        const last = JSON.parse(lines.at(-1)!) as { endLsn: string };
        assert.equal(last.endLsn, formatLsn(broken.applied));
      }
    }
  });
});
