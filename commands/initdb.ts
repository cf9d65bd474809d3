import { readFileSync } from 'node:fs';
import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { createCluster, type CreateOptions } from '../src/cluster/create.js';
import { clusterOptions, createOrUndo, newClusterFlags } from '../src/cluster/new-cluster.js';
import { promptPasswords } from '../src/cluster/prompt.js';
import { DbError, errnoWords } from '../src/engine/errors.js';

/** Flags that PostgreSQL's initdb takes and that go through to it as they are. */
const PASS_THROUGH = [
  'encoding',
  'locale',
  'lc-collate',
  'lc-ctype',
  'lc-messages',
  'lc-monetary',
  'lc-numeric',
  'lc-time',
  'locale-provider',
  'builtin-locale',
  'icu-locale',
  'icu-rules',
  'text-search-config',
  'wal-segsize',
] as const;

export default class Initdb extends AuroraCommand {
  static override summary =
    'Create a cluster: storage nodes with a new PostgreSQL database cluster in them, and a primary compute.';
  static override description =
    'The directory must not exist, or be empty. Start the cluster with "aurora start".';
  static override examples = [
    '<%= config.bin %> initdb -D ./aurora-data',
    '<%= config.bin %> initdb -D ./aurora-data -p 5433 -U alice -W',
    '<%= config.bin %> initdb -D ./aurora-data --storage-nodes 6 --zones 3',
    '<%= config.bin %> initdb -D ./aurora-data --tls',
  ];
  static override args = {
    directory: Args.string({
      ignoreStdin: true,
      description: 'directory of the new cluster, as with -D',
      required: false,
    }),
  };
  static override flags = {
    ...clusterFlag,
    ...newClusterFlags,
    username: Flags.string({ char: 'U', description: 'database superuser name', helpValue: 'NAME' }),
    auth: Flags.string({
      char: 'A',
      description:
        'authentication method for all connections (default: trust on the unix socket, scram-sha-256 on TCP)',
      helpValue: 'METHOD',
    }),
    'auth-host': Flags.string({
      description: 'authentication method for TCP/IP connections',
      helpValue: 'METHOD',
    }),
    'auth-local': Flags.string({
      description: 'authentication method for unix socket connections',
      helpValue: 'METHOD',
    }),
    pwprompt: Flags.boolean({
      char: 'W',
      description: 'prompt for a password for the new superuser',
      exclusive: ['pwfile'],
    }),
    pwfile: Flags.string({ description: 'read password for the new superuser from file', helpValue: 'FILE' }),
    encoding: Flags.string({
      char: 'E',
      description: 'set default encoding for new databases',
      helpValue: 'ENCODING',
    }),
    locale: Flags.string({ description: 'set default locale for new databases', helpValue: 'LOCALE' }),
    'lc-collate': Flags.string({
      description: 'locale of the collation order in new databases',
      helpValue: 'LOCALE',
    }),
    'lc-ctype': Flags.string({
      description: 'locale of the character classification in new databases',
      helpValue: 'LOCALE',
    }),
    'lc-messages': Flags.string({
      description: 'locale of the language of messages in new databases',
      helpValue: 'LOCALE',
    }),
    'lc-monetary': Flags.string({
      description: 'locale of the formatting of amounts of money in new databases',
      helpValue: 'LOCALE',
    }),
    'lc-numeric': Flags.string({
      description: 'locale of the formatting of numbers in new databases',
      helpValue: 'LOCALE',
    }),
    'lc-time': Flags.string({
      description: 'locale of the formatting of dates and times in new databases',
      helpValue: 'LOCALE',
    }),
    'no-locale': Flags.boolean({ description: 'equivalent to --locale=C', exclusive: ['locale'] }),
    'locale-provider': Flags.string({
      description: 'default locale provider for new databases',
      options: ['builtin', 'libc', 'icu'],
    }),
    'builtin-locale': Flags.string({
      description: 'builtin locale name for new databases',
      helpValue: 'LOCALE',
    }),
    'icu-locale': Flags.string({ description: 'ICU locale ID for new databases', helpValue: 'LOCALE' }),
    'icu-rules': Flags.string({
      description: 'additional ICU collation rules for new databases',
      helpValue: 'RULES',
    }),
    'text-search-config': Flags.string({
      char: 'T',
      description: 'default text search configuration',
      helpValue: 'CFG',
    }),
    'wal-segsize': Flags.string({ description: 'size of WAL segments, in megabytes', helpValue: 'SIZE' }),
    set: Flags.string({
      char: 'c',
      description: 'override a default setting, in postgresql.conf; may be given several times',
      helpValue: 'NAME=VALUE',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'no-instructions': Flags.boolean({ description: 'do not print instructions for next steps' }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<Awaited<ReturnType<typeof createCluster>>> {
    const { args, flags } = await this.parse(Initdb);
    const root = this.requireCluster(args.directory ?? flags.pgdata);
    const initdbArgs = PASS_THROUGH.flatMap((name) =>
      flags[name] === undefined ? [] : [`--${name}=${flags[name]}`],
    );
    if (flags['no-locale']) initdbArgs.push('--no-locale');
    initdbArgs.push(...(flags.set ?? []).map((setting) => `--set=${setting}`));
    const password = await this.password(flags);
    const options: CreateOptions = {
      ...clusterOptions(root, flags, (line) => this.log(line)),
      superuser: flags.username,
      authLocal: flags['auth-local'] ?? flags.auth ?? 'trust',
      authHost: flags['auth-host'] ?? flags.auth ?? 'scram-sha-256',
      password,
      initdbArgs,
    };
    const created = await createOrUndo(options, createCluster);
    if (!flags['no-instructions'])
      this.log(`\nSuccess. You can now start the database server using:\n\n    aurora start -D ${root}\n`);
    return created;
  }

  private async password(flags: { pwprompt: boolean; pwfile?: string | undefined }): Promise<string | null> {
    if (flags.pwfile !== undefined) {
      return passwordIn(flags.pwfile);
    }
    if (!flags.pwprompt) return null;
    const [first, again] = await promptPasswords(['Enter new superuser password: ', 'Enter it again: ']);
    if (first !== again) throw new DbError('USAGE_PASSWORD', "Passwords didn't match.");
    return first!;
  }
}

/** The first line. Throws USAGE_PASSWORD. */
function passwordIn(file: string): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new DbError('USAGE_PASSWORD', `could not open file "${file}" for reading: ${errnoWords(cause)}`, {
      cause,
    });
  }
  const line = text.split(/\r?\n/)[0];
  if (!line) throw new DbError('USAGE_PASSWORD', `password file "${file}" is empty`);
  return line;
}
