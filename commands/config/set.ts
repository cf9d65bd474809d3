import { Args } from '@oclif/core';
import { ConfigCommand, configFlags } from '../../src/cluster/config-command.js';
import type { SettingChange } from '../../src/cluster/pg-config.js';
import { DbError } from '../../src/engine/errors.js';

export default class ConfigSet extends ConfigCommand {
  static override summary = 'Change settings of PostgreSQL, for good.';
  static override description = `By ALTER SYSTEM on the primary, which the volume keeps, then by a reload, of the replicas too; settings that take effect at a start only are named. What the
cluster rests on (fsync, wal_level, synchronous_standby_names, ...) cannot be changed.`;
  static override examples = [
    '<%= config.bin %> config set work_mem=64MB',
    "<%= config.bin %> config set log_min_duration_statement='250ms' log_lock_waits=on",
  ];
  static override strict = false;
  static override args = {
    setting: Args.string({ ignoreStdin: true, description: 'NAME=VALUE; more may follow', required: true }),
  };
  static override flags = configFlags;

  async run(): Promise<{ changed: string[]; restart: string[] }> {
    const { argv, flags } = await this.parse(ConfigSet);
    const changes = changesIn(this.words(argv));
    const { restart } = await this.change(flags, changes);
    return { changed: changes.map(({ name }) => name), restart };
  }
}

/** `NAME=VALUE ...`, or `NAME VALUE`. Throws USAGE_SETTING. */
function changesIn(words: readonly string[]): SettingChange[] {
  if (words.length === 2 && !words[0]!.includes('=')) return [{ name: words[0]!, value: words[1]! }];
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at > 0) return { name: word.slice(0, at).trim(), value: word.slice(at + 1) };
    throw new DbError('USAGE_SETTING', `"${word}" is not NAME=VALUE`, {
      hint: 'For example: aurora config set work_mem=64MB',
    });
  });
}
