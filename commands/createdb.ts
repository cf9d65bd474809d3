import { Args, Flags } from '@oclif/core';
import pg from 'pg';
import { clientFlags, connectWith } from '../src/cluster/client-flags.js';
import { AuroraCommand } from '../src/cluster/command.js';
import { runSql } from '../src/cluster/run-sql.js';

const { escapeIdentifier, escapeLiteral } = pg;

export default class Createdb extends AuroraCommand {
  static override summary = 'Create a database.';
  static override description = 'By default, a database with the same name as the current user is created.';
  static override examples = [
    '<%= config.bin %> createdb mydb',
    '<%= config.bin %> createdb -O alice -T template0 mydb "the shop"',
  ];
  static override args = {
    dbname: Args.string({ ignoreStdin: true, description: 'name of the new database' }),
    description: Args.string({ ignoreStdin: true, description: 'comment on it' }),
  };
  static override flags = {
    ...clientFlags,
    tablespace: Flags.string({
      char: 'D',
      description: 'default tablespace for the database',
      helpValue: 'TABLESPACE',
    }),
    echo: Flags.boolean({ char: 'e', description: 'show the commands being sent to the server' }),
    encoding: Flags.string({ char: 'E', description: 'encoding for the database', helpValue: 'ENCODING' }),
    locale: Flags.string({ char: 'l', description: 'locale settings for the database', helpValue: 'LOCALE' }),
    'lc-collate': Flags.string({ description: 'LC_COLLATE setting for the database', helpValue: 'LOCALE' }),
    'lc-ctype': Flags.string({ description: 'LC_CTYPE setting for the database', helpValue: 'LOCALE' }),
    'builtin-locale': Flags.string({
      description: 'builtin locale setting for the database',
      helpValue: 'LOCALE',
    }),
    'icu-locale': Flags.string({ description: 'ICU locale setting for the database', helpValue: 'LOCALE' }),
    'icu-rules': Flags.string({ description: 'ICU rules setting for the database', helpValue: 'RULES' }),
    'locale-provider': Flags.string({
      options: ['builtin', 'libc', 'icu'],
      description: "locale provider for the database's default collation",
    }),
    owner: Flags.string({
      char: 'O',
      description: 'database user to own the new database',
      helpValue: 'OWNER',
    }),
    strategy: Flags.string({
      char: 'S',
      description: 'database creation strategy wal_log or file_copy',
      helpValue: 'STRATEGY',
    }),
    template: Flags.string({ char: 'T', description: 'template database to copy', helpValue: 'TEMPLATE' }),
    'maintenance-db': Flags.string({ description: 'alternate maintenance database', helpValue: 'DBNAME' }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Createdb);
    const name = args.dbname ?? process.env['PGDATABASE'] ?? process.env['PGUSER'] ?? flags.username;
    const client = await connectWith(
      flags,
      flags['maintenance-db'] ?? (name === 'postgres' ? 'template1' : 'postgres'),
      'createdb',
    );
    try {
      const dbname = name ?? client.user ?? 'postgres';
      const options: [string, string | undefined][] = [
        ['OWNER', flags.owner && escapeIdentifier(flags.owner)],
        ['TABLESPACE', flags.tablespace && escapeIdentifier(flags.tablespace)],
        ['ENCODING', flags.encoding && escapeLiteral(flags.encoding)],
        ['STRATEGY', flags.strategy && escapeLiteral(flags.strategy)],
        ['TEMPLATE', flags.template && escapeIdentifier(flags.template)],
        ['LOCALE', flags.locale && escapeLiteral(flags.locale)],
        ['BUILTIN_LOCALE', flags['builtin-locale'] && escapeLiteral(flags['builtin-locale'])],
        ['LC_COLLATE', flags['lc-collate'] && escapeLiteral(flags['lc-collate'])],
        ['LC_CTYPE', flags['lc-ctype'] && escapeLiteral(flags['lc-ctype'])],
        ['LOCALE_PROVIDER', flags['locale-provider']],
        ['ICU_LOCALE', flags['icu-locale'] && escapeLiteral(flags['icu-locale'])],
        ['ICU_RULES', flags['icu-rules'] && escapeLiteral(flags['icu-rules'])],
      ];
      const clauses = options
        .filter(([, value]) => value !== undefined)
        .map(([key, value]) => ` ${key} ${value}`);
      const echo = flags.echo ? (sql: string): void => this.log(sql) : undefined;
      await runSql(
        client,
        `CREATE DATABASE ${escapeIdentifier(dbname)}${clauses.join('')};`,
        'database creation failed',
        echo,
      );
      if (args.description !== undefined) {
        await runSql(
          client,
          `COMMENT ON DATABASE ${escapeIdentifier(dbname)} IS ${escapeLiteral(args.description)};`,
          'comment creation failed (database was created)',
          echo,
        );
      }
    } finally {
      await client.end();
    }
  }
}
