import path from 'node:path';
import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { endingNewDaemons } from '../../src/cluster/interrupt.js';
import { isLoneNode, joinLoneNode, startLoneNode } from '../../src/cluster/lone-node.js';
import { givenTls } from '../../src/cluster/new-cluster.js';
import { addressOf } from '../../src/cluster/storage-flags.js';
import { startStorageNodes } from '../../src/cluster/storage-list.js';
import { DbError } from '../../src/engine/errors.js';

export default class StorageStart extends AuroraCommand {
  static override summary = 'Start storage nodes: of a cluster, or one alone on another host.';
  static override description = `With a cluster's directory: the node ID, or all that do not run.

With --join: a node alone, in a folder of its own (-D). It asks the members that it joins who the others are, follows them, and becomes a member with "aurora storage add ID --at ADDR:PORT". The folder remembers how it was started: later, -D is enough.`;
  static override examples = [
    '<%= config.bin %> storage start 2 -D ./aurora-data',
    '<%= config.bin %> storage start -D ./node4 --node 4 --join 10.0.0.1:5431,10.0.0.2:5431 --listen 10.0.0.4:5440 --secret-file ./secret --volume 0d5f...',
  ];
  static override args = { id: Args.string({ description: "name of a cluster's storage node" }) };
  static override flags = {
    ...clusterFlag,
    join: Flags.string({ description: 'members of the volume to ask', helpValue: 'HOST:PORT[,...]' }),
    listen: Flags.string({
      description: 'address to listen on',
      helpValue: 'ADDR:PORT',
      dependsOn: ['join'],
    }),
    advertise: Flags.string({
      description: 'address that others reach the node at (default: --listen)',
      helpValue: 'ADDR:PORT',
      dependsOn: ['join'],
    }),
    'secret-file': Flags.string({
      description: "file with the cluster's secret",
      helpValue: 'FILE',
      dependsOn: ['join'],
    }),
    'tls-ca': Flags.string({
      description: "file with the certificate of the cluster's authority (see aurora cert issue)",
      helpValue: 'FILE',
      dependsOn: ['join', 'tls-cert', 'tls-key'],
    }),
    'tls-cert': Flags.string({
      description: "file with the node's certificate",
      helpValue: 'FILE',
      dependsOn: ['tls-ca'],
    }),
    'tls-key': Flags.string({
      description: 'file with its private key; may be the same',
      helpValue: 'FILE',
      dependsOn: ['tls-ca'],
    }),
    volume: Flags.string({
      description: 'id of the volume (see aurora status)',
      helpValue: 'VOLUME',
      dependsOn: ['join'],
    }),
    node: Flags.string({
      description: 'name of the node in the volume',
      helpValue: 'ID',
      dependsOn: ['join'],
    }),
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait',
      default: 60,
      min: 1,
      helpValue: 'SECONDS',
    }),
    silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(StorageStart);
    const dir = this.requireCluster(flags.pgdata);
    const say = (line: string): void => {
      if (!flags.silent) this.log(line);
    };
    if (flags.join !== undefined) {
      const needed = (name: 'listen' | 'secret-file' | 'volume' | 'node'): string => {
        const value = flags[name];
        if (value !== undefined) return value;
        throw new DbError('USAGE_JOIN', `--join needs --${name}, too`);
      };
      const { host, port } = addressOf(needed('listen'));
      const node = {
        volumeId: needed('volume'),
        nodeId: needed('node'),
        host,
        port,
        advertise: flags.advertise ?? needed('listen'),
        join: flags.join.split(','),
        secretFile: path.resolve(needed('secret-file')),
        tls: givenTls(flags['tls-ca'], flags['tls-cert'], flags['tls-key']),
      };
      const { pid } = await joinLoneNode(path.resolve(dir), node, flags.timeout * 1000);
      return say(`storage node started (PID: ${pid})`);
    }
    if (isLoneNode(dir)) {
      const { pid } = await startLoneNode(path.resolve(dir), flags.timeout * 1000);
      say(`storage node started (PID: ${pid})`);
      return;
    }
    const started = await endingNewDaemons(dir, (hooks) =>
      startStorageNodes(dir, args.id, flags.timeout * 1000, say, hooks),
    );
    if (started.length === 0) say('nothing to start: it runs already');
  }
}
