import { createInterface } from 'node:readline/promises';
import { Args, Flags } from '@oclif/core';
import pg from 'pg';
import { clientFlags, connectWith } from '../src/cluster/client-flags.js';
import { AuroraCommand } from '../src/cluster/command.js';
import { runSql } from '../src/cluster/run-sql.js';

export default class Dropdb extends AuroraCommand {
  static override summary = 'Remove a database.';
  static override examples = [
    '<%= config.bin %> dropdb mydb',
    '<%= config.bin %> dropdb --if-exists --force mydb',
  ];
  static override args = {
    dbname: Args.string({ ignoreStdin: true, description: 'database to remove', required: true }),
  };
  static override flags = {
    ...clientFlags,
    echo: Flags.boolean({ char: 'e', description: 'show the commands being sent to the server' }),
    force: Flags.boolean({ char: 'f', description: 'try to terminate other connections before dropping' }),
    interactive: Flags.boolean({ char: 'i', description: 'prompt before deleting anything' }),
    'if-exists': Flags.boolean({ description: "don't report error if database doesn't exist" }),
    'maintenance-db': Flags.string({ description: 'alternate maintenance database', helpValue: 'DBNAME' }),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(Dropdb);
    if (flags.interactive && !(await this.confirmed(args.dbname))) return;
    const client = await connectWith(
      flags,
      flags['maintenance-db'] ?? (args.dbname === 'postgres' ? 'template1' : 'postgres'),
      'dropdb',
    );
    try {
      const sql = `DROP DATABASE ${flags['if-exists'] ? 'IF EXISTS ' : ''}${pg.escapeIdentifier(args.dbname)}${flags.force ? ' WITH (FORCE)' : ''};`;
      await runSql(client, sql, 'database removal failed', flags.echo ? (text) => this.log(text) : undefined);
    } finally {
      await client.end();
    }
  }

  private async confirmed(name: string): Promise<boolean> {
    const reader = createInterface({ input: process.stdin, output: process.stdout });
    try {
      const answer = await reader.question(
        `Database "${name}" will be permanently removed.\nAre you sure? (y/n) `,
      );
      return /^y(es)?$/i.test(answer.trim());
    } finally {
      reader.close();
    }
  }
}
