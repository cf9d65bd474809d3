import { Args } from '@oclif/core';
import { ConfigCommand, configFlags } from '../../src/cluster/config-command.js';
import { getSettings, type Setting } from '../../src/cluster/pg-config.js';

export default class ConfigGet extends ConfigCommand {
  static override summary = 'Print settings of PostgreSQL.';
  static override description =
    'One value a line, in the order asked for; with --json all that is known of each.';
  static override examples = [
    '<%= config.bin %> config get work_mem',
    '<%= config.bin %> config get work_mem shared_buffers --json',
  ];
  static override strict = false;
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: 'name of a setting; more may follow',
      required: true,
    }),
  };
  static override flags = configFlags;

  async run(): Promise<Setting[]> {
    const { argv, flags } = await this.parse(ConfigGet);
    const settings = await this.inSession(flags, (client) => getSettings(client, this.words(argv)));
    for (const { value } of settings) this.log(value);
    return settings;
  }
}
