// The donor of an election dies as soon as it was elected from, with log that no other node has: the others go on without it.
import assert from 'node:assert/strict';
import { pino } from 'pino';
import { beginEpoch, type BegunEpoch } from '../../src/compute/epoch-start.js';
import type { ComputeConfig } from '../../src/compute/config.js';
import { StorageLinks } from '../../src/compute/storage-links.js';
import { MiniWriter, TestVolume } from '../storage/volume.js';

describe('the beginning of an epoch', function () {
  this.timeout(180_000);
  const ids = ['n1', 'n2', 'n3'];
  let volume: TestVolume;
  let links: StorageLinks;
  let begun: BegunEpoch | null = null;

  before(async () => {
    volume = await TestVolume.create(ids, [
      'CREATE TABLE t AS SELECT g, md5(g::text) FROM generate_series(1, 2000) g',
    ]);
  });
  after(async () => {
    begun?.writer.close();
    begun?.lease.close();
    await links?.close();
    await volume?.destroy();
  });

  it('does not wait for a donor that died with log of its own: the others elect again, and it follows them when it is back', async () => {
    const { recordEnds } = volume.recording;
    const common = recordEnds[Math.floor(recordEnds.length / 3)]!;
    const alone = recordEnds[Math.floor(recordEnds.length / 2)]!;
    for (const id of ids) await volume.spawn(id);
    const former = new MiniWriter(volume, 1, 'first');
    for (const id of ids) await former.join(id);
    await former.lead();
    former.write(common);
    await former.committed(common);
    const scl = async (id: string): Promise<number> => (await (await volume.client(id)).status()).scl;
    for (const id of ids)
      await volume.until(await volume.client(id), 'has what is committed', (s) => s.scl >= common);
    for (const id of ['n1', 'n2']) await volume.kill(id, 'SIGTERM');
    former.write(alone);
    await volume.until(await volume.client('n3'), 'has more', (s) => s.scl >= alone);
    former.close();
    // They must not fetch it from the third one in the meantime.
    for (const id of ['n1', 'n2']) await volume.spawn(id, { peers: [] });
    assert.ok((await scl('n1')) < alone && (await scl('n2')) < alone);

    const said: string[] = [];
    let dead: Promise<unknown> | null = null;
    const log = pino(
      {},
      {
        write: (line: string) => {
          const { msg } = JSON.parse(line) as { msg: string };
          said.push(msg);
          if (msg === 'elected' && said.filter((m) => m === msg).length === 1)
            dead = volume.kill('n3', 'SIGKILL');
        },
      },
    );
    const storage = volume.nodes.map(({ id, endpoint }) => ({ id, ...endpoint }));
    const config = { name: 'primary', electTimeoutMs: 60_000, quorum: { write: 2, read: 2 }, storage };
    links = new StorageLinks(storage, {
      secret: Buffer.from(volume.secret),
      tls: null,
      volumeId: volume.config('n1').volumeId!,
      clientId: 'primary',
      log,
    });
    links.open();
    await new Promise<void>((resolve) => {
      links.on('up', () => links.connected().length === ids.length && resolve());
    });
    const from = performance.now();
    begun = await beginEpoch({ config: config as ComputeConfig, links, log }, () => undefined);
    assert.ok(performance.now() - from < 30_000, 'without waiting for a time-out');
    assert.equal(said.filter((msg) => msg === 'elected').length, 2);
    assert.ok(
      said.some((msg) => msg.endsWith('electing again')),
      said.join('\n'),
    );
    assert.ok(begun.recoveryLsn >= common && begun.recoveryLsn < alone, `begins at ${begun.recoveryLsn}`);

    await dead;
    await volume.spawn('n3');
    const { epoch } = begun.core;
    await volume.until(
      await volume.client('n3'),
      'follows',
      (s) => s.promisedEpoch === epoch && s.scl === begun!.point.lsn,
    );
  });
});
