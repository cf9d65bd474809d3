import path from 'node:path';
import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { adoptCluster, type AdoptOptions, type CreatedCluster } from '../src/cluster/create.js';
import { clusterOptions, createOrUndo, newClusterFlags } from '../src/cluster/new-cluster.js';

export default class Import extends AuroraCommand {
  static override summary = 'Create a cluster from the data directory of a stopped PostgreSQL 18.';
  static override description = `PGDATA must have been stopped cleanly (pg_ctl stop), without data checksums, and with all tablespaces inside. It is only read, and can be
started again as before; what happens in one of the two is not in the other. The new cluster has its databases, roles, passwords and settings: postgresql.conf,
postgresql.auto.conf, pg_hba.conf and pg_ident.conf. Replication slots and files that the settings include do not come along.`;
  static override examples = [
    '<%= config.bin %> import /var/lib/postgresql/18/main -D ./aurora-data',
    '<%= config.bin %> import ./pgdata -D ./aurora-data --storage-nodes 6 -p 5433',
  ];
  static override args = {
    pgdata: Args.string({ ignoreStdin: true, description: 'the data directory to import', required: true }),
  };
  static override flags = {
    ...clusterFlag,
    ...newClusterFlags,
    username: Flags.string({
      char: 'U',
      description: 'the superuser that initdb made (default: found out)',
      helpValue: 'NAME',
    }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<CreatedCluster> {
    const { args, flags } = await this.parse(Import);
    const root = this.requireCluster(flags.pgdata);
    const options: AdoptOptions = {
      ...clusterOptions(root, flags, (line) => this.log(line)),
      superuser: flags.username,
      pgdata: path.resolve(args.pgdata),
    };
    const created = await createOrUndo(options, adoptCluster);
    if (created.slots.length > 0)
      this.note(`replication slots that were left behind: ${created.slots.join(', ')}`);
    this.log(`\nSuccess. You can now start the database server using:\n\n    aurora start -D ${root}\n`);
    return created;
  }
}
