import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { plainTable } from '../../src/cluster/compute-table.js';
import { listStorageNodes, type StorageList as List } from '../../src/cluster/storage-list.js';

export default class StorageList extends AuroraCommand {
  static override summary = 'List the storage nodes of a cluster, running or not.';
  static override examples = ['<%= config.bin %> storage list -D ./aurora-data'];
  static override enableJsonFlag = true;
  static override flags = { ...clusterFlag };

  async run(): Promise<List> {
    const { flags } = await this.parse(StorageList);
    const list = listStorageNodes(this.requireCluster(flags.pgdata));
    const table = plainTable(['storage', 'zone', 'member', 'pid', 'address', 'folder']);
    for (const { id, zone, member, pid, host, port, dir } of list.nodes)
      table.push([id, zone || '-', member, pid ?? '-', `${host}:${port}`, dir || '(another host)']);
    this.log(table.toString());
    this.log(
      `\n${list.copies} copies, write quorum ${list.writeQuorum}, read quorum ${list.readQuorum}, generation ${list.generation}`,
    );
    return list;
  }
}
