import { Args, Flags } from '@oclif/core';
import { ConfigCommand, configFlags } from '../../src/cluster/config-command.js';
import { listSettings, type Setting } from '../../src/cluster/pg-config.js';
import { tableLines } from '../../src/inspect/table.js';
import { paintLines, piece } from '../../src/inspect/tone.js';

/** For readers that are no terminal. */
const WIDTH = 120;

export default class ConfigList extends ConfigCommand {
  static override summary = "List PostgreSQL's settings and where they come from.";
  static override description =
    'Without --all only those that are not at their default. A mark after the value says that a change waits for a restart.';
  static override examples = [
    '<%= config.bin %> config list',
    '<%= config.bin %> config list --all autovacuum',
  ];
  static override args = {
    pattern: Args.string({ ignoreStdin: true, description: 'only names with this in them' }),
  };
  static override flags = {
    ...configFlags,
    all: Flags.boolean({ char: 'a', description: 'those at their default too' }),
  };

  async run(): Promise<Setting[]> {
    const { args, flags } = await this.parse(ConfigList);
    const which = { pattern: args.pattern, changedOnly: !flags.all };
    const settings = await this.inSession(flags, (client) => listSettings(client, which));
    if (settings.length > 0)
      this.log(
        paintLines(
          tableLines<Setting>(
            [
              { title: 'name', cell: ({ name }) => name },
              { title: 'value', cell: ({ value, pendingRestart }) => piece(pendingRestart ? `${value} *` : value, pendingRestart ? 'doubtful' : 'plain') }, // prettier-ignore
              { title: 'source', rank: 2, cell: ({ source }) => source },
              { title: 'changed by', rank: 3, cell: ({ context }) => changedBy(context) },
            ],
            settings,
            process.stdout.columns || WIDTH,
          ),
        ),
      );
    if (settings.some(({ pendingRestart }) => pendingRestart))
      this.log('\n* waits for a restart: aurora restart');
    return settings;
  }
}

function changedBy(context: string): string {
  if (context === 'postmaster') return 'restart';
  return context === 'internal' ? 'nothing' : 'reload';
}
