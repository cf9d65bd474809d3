/**
 * The members of a volume change while clients write: a fourth node is added, by a command that is killed in the middle and run again; the first one is
 * removed; the second one, which lost its disk, is replaced; the primary is killed in between. No client hears of it, nothing acknowledged is lost, and
 * in the end none of the volume is left on the nodes that it began on, but one.
 */
import { strict as assert } from 'node:assert';
import { promises as fs } from 'node:fs';
import { aurora } from '../commands/cli.js';
import { auditBank, createBank, runBank, type BankResult } from '../helpers/bank.js';
import { eventually, TestCluster } from '../helpers/cluster.js';

describe('e2e: changes of membership', function () {
  this.timeout(600_000);
  let cluster: TestCluster;
  let stop = new AbortController();
  let load: Promise<BankResult> | null = null;
  let rounds = 0;
  const acknowledged = new Set<number>();

  before(async () => {
    cluster = await TestCluster.start();
    const client = await cluster.client();
    await createBank(client);
    await client.query(
      `create table ballast as select g as id, repeat(md5(g::text), 20) as filler from generate_series(1, 20000) g`,
    );
  });
  after(async () => {
    stop.abort();
    await cluster?.destroy();
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs(25));
  });

  async function startLoad(): Promise<void> {
    stop = new AbortController();
    const clients = await Promise.all(Array.from({ length: 3 }, () => cluster.client()));
    load = runBank(clients, 1_000_000 * ++rounds, stop.signal);
  }

  /** No client met an error. */
  async function endLoad(atLeast: number): Promise<void> {
    stop.abort();
    const result = await load!;
    load = null;
    assert.deepEqual(result.errors, []);
    assert.ok(result.acknowledged.size >= atLeast, `${result.acknowledged.size} transfers`);
    for (const id of result.acknowledged) acknowledged.add(id);
  }

  async function audit(): Promise<void> {
    await auditBank(await cluster.client(), acknowledged, new Set());
  }

  const storage = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await aurora(['storage', ...args, '-D', cluster.layout.root]);
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };

  const members = async (): Promise<string> => {
    const { storage: nodes, volume } = await cluster.status();
    assert.ok(volume.settled);
    return `${volume.copies}/${volume.writeQuorum}/${volume.readQuorum}: ${nodes.map((n) => `${n.id} ${n.member} ${n.state}`).join(', ')}`;
  };

  it('a node is added by a command that is killed as soon as it has begun, and goes on when it is run again', async () => {
    await startLoad();
    let kill: () => void = () => undefined;
    const killed = await aurora(['storage', 'add', '4', '-D', cluster.layout.root], {
      started: (child) => (kill = () => child.kill('SIGKILL')),
      onOutput: (text) => text.includes('joins') && kill(),
    });
    assert.equal(killed.status, null);
    assert.match(await storage('add', '4'), /going on[^]*storage node 4 added: 4 copies/);
    await endLoad(20);
    assert.equal(
      await members(),
      '4/3/2: 1 voter running, 2 voter running, 3 voter running, 4 voter running',
    );
  });

  it('a node is removed after the primary was killed and started again', async () => {
    await cluster.killCompute();
    await cluster.start();
    await startLoad();
    assert.match(await storage('remove', '1', '--delete-data'), /storage node 1 removed: 3 copies/);
    await endLoad(20);
    assert.equal(await members(), '3/2/2: 2 voter running, 3 voter running, 4 voter running');
    await assert.rejects(fs.stat(`${cluster.layout.root}/storage/1`));
  });

  it('a node that was killed and lost its disk is replaced', async () => {
    await startLoad();
    const { dir } = cluster.storageNodes.find((node) => node.id === '2')!;
    await cluster.killStorage('2');
    for (const name of await fs.readdir(dir)) await fs.rm(`${dir}/${name}`, { recursive: true });
    assert.match(await storage('replace', '2'), /storage node 2 replaced by 5/);
    await endLoad(20);
    assert.equal(await members(), '3/2/2: 3 voter running, 4 voter running, 5 voter running');
  });

  it('commits go on with the new nodes alone, and a compute starts from them with everything there', async () => {
    await cluster.killStorage('3');
    await startLoad();
    const client = await cluster.client();
    await eventually('transfers', async () => (await client.query(`select 1 from journal where id > ${rounds * 1_000_000} offset 50`)).rowCount); // prettier-ignore
    await endLoad(20);
    await cluster.stop();
    cluster.eraseCompute();
    await cluster.start();
    await audit();
    await cluster.amcheck();
  });
});
