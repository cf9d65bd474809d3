/** For the tests of one describe(): a cluster with replicas and the money transfers of WatchedBank. */
import { TestCluster } from './cluster.js';
import { Computes, type ReplicaOptions } from './computes.js';
import { WatchedBank } from './watched-bank.js';

export interface BankCluster {
  cluster: TestCluster;
  computes: Computes;
  bank: WatchedBank;
}

/** Made before the first test, destroyed after the last; its logs are shown when a test fails. `start`: how, when not as ever. */
export function bankCluster(
  replicas: Readonly<Record<string, ReplicaOptions>>,
  use: (made: BankCluster) => void,
  start: () => Promise<TestCluster> = () => TestCluster.start(),
): void {
  let cluster: TestCluster | undefined;
  let computes: Computes | undefined;

  before(async () => {
    cluster = await start();
    computes = new Computes(cluster);
    use({ cluster, computes, bank: await WatchedBank.create(computes, 'primary') });
    for (const [name, options] of Object.entries(replicas)) await computes.add(name, options);
  });

  after(async () => {
    await computes?.close();
    await cluster?.destroy();
  });

  afterEach(async function () {
    if (this.currentTest?.state === 'failed') console.error(await cluster?.logs(40));
  });
}
