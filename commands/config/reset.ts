import { Args } from '@oclif/core';
import { ConfigCommand, configFlags } from '../../src/cluster/config-command.js';

export default class ConfigReset extends ConfigCommand {
  static override summary = 'Take back what "aurora config set", or ALTER SYSTEM, changed.';
  static override description = 'The setting is what postgresql.conf says then, else its default.';
  static override examples = ['<%= config.bin %> config reset work_mem'];
  static override strict = false;
  static override args = {
    name: Args.string({
      ignoreStdin: true,
      description: 'name of a setting; more may follow',
      required: true,
    }),
  };
  static override flags = configFlags;

  async run(): Promise<{ changed: string[]; restart: string[] }> {
    const { argv, flags } = await this.parse(ConfigReset);
    const names = this.words(argv);
    const changes = names.map((name) => ({ name, value: null }));
    const { restart } = await this.change(flags, changes);
    return { changed: names, restart };
  }
}
