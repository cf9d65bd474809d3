import { readFileSync } from 'node:fs';
import { Args, Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { createCluster } from '../src/cluster/create.js';
import { promptPassword } from '../src/cluster/prompt.js';
import { DbError } from '../src/engine/errors.js';

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
    '<%= config.bin %> initdb -D ./aurora-data --storage-nodes 6 --write-quorum 4',
  ];
  static override args = {
    directory: Args.string({ description: 'directory of the new cluster, as with -D', required: false }),
  };
  static override flags = {
    ...clusterFlag,
    port: Flags.integer({
      char: 'p',
      description: 'port that PostgreSQL will listen on',
      env: 'PGPORT',
      default: 5432,
      min: 1,
      max: 65535,
      helpValue: 'PORT',
    }),
    'storage-nodes': Flags.integer({
      description: 'number of storage nodes, each with a copy',
      default: 3,
      min: 1,
      max: 9,
      helpValue: 'N',
    }),
    'write-quorum': Flags.integer({
      description: 'copies that must be on disk before a commit returns (default: a majority; 4 of 6)',
      min: 1,
      helpValue: 'W',
    }),
    'read-quorum': Flags.integer({
      description: 'nodes that must answer an election (default: N - W + 1)',
      min: 1,
      helpValue: 'R',
    }),
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
    'lc-collate': Flags.string({ helpValue: 'LOCALE' }),
    'lc-ctype': Flags.string({ helpValue: 'LOCALE' }),
    'lc-messages': Flags.string({ helpValue: 'LOCALE' }),
    'lc-monetary': Flags.string({ helpValue: 'LOCALE' }),
    'lc-numeric': Flags.string({ helpValue: 'LOCALE' }),
    'lc-time': Flags.string({ helpValue: 'LOCALE' }),
    'no-locale': Flags.boolean({ description: 'equivalent to --locale=C', exclusive: ['locale'] }),
    'locale-provider': Flags.string({ options: ['builtin', 'libc', 'icu'] }),
    'builtin-locale': Flags.string({ helpValue: 'LOCALE' }),
    'icu-locale': Flags.string({ helpValue: 'LOCALE' }),
    'icu-rules': Flags.string({ helpValue: 'RULES' }),
    'text-search-config': Flags.string({
      char: 'T',
      description: 'default text search configuration',
      helpValue: 'CFG',
    }),
    'wal-segsize': Flags.string({ description: 'size of WAL segments, in megabytes', helpValue: 'SIZE' }),
    'pg-bindir': Flags.string({
      description: "bin directory of your own PostgreSQL 18 (default: the package's)",
      helpValue: 'DIR',
    }),
    'run-as': Flags.string({
      description: 'account that PostgreSQL runs as when this is run as root',
      helpValue: 'ACCOUNT',
    }),
  };
  static override enableJsonFlag = true;

  async run(): Promise<Awaited<ReturnType<typeof createCluster>>> {
    const { args, flags } = await this.parse(Initdb);
    const root = this.requireCluster(args.directory ?? flags.pgdata);
    const initdbArgs = PASS_THROUGH.flatMap((name) =>
      flags[name] === undefined ? [] : [`--${name}=${flags[name]}`],
    );
    if (flags['no-locale']) initdbArgs.push('--no-locale');
    const created = await createCluster({
      root,
      port: flags.port,
      storageNodes: flags['storage-nodes'],
      writeQuorum: flags['write-quorum'],
      readQuorum: flags['read-quorum'],
      superuser: flags.username,
      authLocal: flags['auth-local'] ?? flags.auth ?? 'trust',
      authHost: flags['auth-host'] ?? flags.auth ?? 'scram-sha-256',
      password: await this.password(flags),
      initdbArgs,
      pgBindir: flags['pg-bindir'],
      runAs: flags['run-as'],
      progress: (line) => this.log(`${line} ...`),
    });
    this.log(`\nSuccess. You can now start the database server using:\n\n    aurora start -D ${root}\n`);
    return created;
  }

  private async password(flags: { pwprompt: boolean; pwfile?: string | undefined }): Promise<string | null> {
    if (flags.pwfile !== undefined) {
      const [line] = readFileSync(flags.pwfile, 'utf8').split('\n');
      if (!line) throw new DbError('USAGE_PASSWORD', `password file "${flags.pwfile}" is empty`);
      return line;
    }
    if (!flags.pwprompt) return null;
    const first = await promptPassword('Enter new superuser password: ');
    if ((await promptPassword('Enter it again: ')) !== first)
      throw new DbError('USAGE_PASSWORD', "Passwords didn't match.");
    return first;
  }
}
