import { Args, Flags } from '@oclif/core';
import { AuroraCommand } from '../src/cluster/command.js';

const text = (char: 'c', description: string, helpValue: string) =>
  Flags.string({ char, description, helpValue });

/**
 * The flags are declared for the help, the manual and completion only: their order matters (-c and -f run as they stand, -P and -v
 * apply as they stand) and psql's bundling and abbreviations are getopt's, so src/psql/options.ts reads the command line itself.
 */
export default class Psql extends AuroraCommand {
  static override summary = 'Run SQL: from a prompt, a script, or the command line.';
  static override description =
    "Takes what PostgreSQL's psql takes: DBNAME may be a connection URI; without -h, and without PGHOST, the cluster of AURORA_HOME is used. " +
    'Exit status: 0 success, 1 fatal error of its own, 2 the connection was lost or failed, 3 a script error with ON_ERROR_STOP. ' +
    'At the prompt, \\? lists the backslash commands.';
  static override examples = [
    '<%= config.bin %> psql mydb',
    '<%= config.bin %> psql -d mydb -c "select 1"',
    '<%= config.bin %> psql -X -v ON_ERROR_STOP=1 -1 -f schema.sql mydb',
    '<%= config.bin %> psql -At -F, -c "select * from t" postgresql://alice@localhost/mydb',
  ];
  static override usage = ['psql [OPTION]... [DBNAME [USERNAME]]'];
  static override strict = false;
  static override args = {
    dbname: Args.string({ description: 'database, connection URI or string' }),
    username: Args.string({ description: 'user name to connect as' }),
  };
  static override flags = {
    command: text('c', 'run a command, SQL or backslash, and exit (repeatable)', 'COMMAND'),
    dbname: Flags.string({
      char: 'd',
      description: 'database, connection URI or string',
      helpValue: 'DBNAME',
    }),
    file: Flags.string({
      char: 'f',
      description: 'run commands of a file, "-" is standard input (repeatable)',
      helpValue: 'FILENAME',
    }),
    list: Flags.boolean({ char: 'l', description: 'list databases and exit' }),
    set: Flags.string({
      char: 'v',
      aliases: ['variable'],
      description: 'set a variable (repeatable)',
      helpValue: 'NAME=VALUE',
    }),
    version: Flags.boolean({ char: 'V', description: 'show the version and exit' }),
    'no-psqlrc': Flags.boolean({ char: 'X', description: 'do not read ~/.psqlrc' }),
    'single-transaction': Flags.boolean({ description: '-1: run the commands as one transaction' }),
    'echo-all': Flags.boolean({ char: 'a', description: 'echo all input of scripts' }),
    'echo-errors': Flags.boolean({ char: 'b', description: 'echo commands that failed' }),
    'echo-queries': Flags.boolean({ char: 'e', description: 'echo commands sent' }),
    'echo-hidden': Flags.boolean({ char: 'E', description: 'show the queries of backslash commands' }),
    'log-file': Flags.string({ char: 'L', description: 'write a log of the session', helpValue: 'FILENAME' }),
    'no-readline': Flags.boolean({ char: 'n', description: 'no line editing' }),
    output: Flags.string({ char: 'o', description: 'results to a file or |command', helpValue: 'FILENAME' }),
    quiet: Flags.boolean({ char: 'q', description: 'only results' }),
    'single-step': Flags.boolean({ char: 's', description: 'confirm each command' }),
    'single-line': Flags.boolean({ char: 'S', description: 'a line ends a command' }),
    'no-align': Flags.boolean({ char: 'A', description: 'unaligned output' }),
    csv: Flags.boolean({ description: 'CSV output' }),
    'field-separator': Flags.string({
      char: 'F',
      description: 'field separator of unaligned output',
      helpValue: 'STRING',
    }),
    html: Flags.boolean({ char: 'H', description: 'HTML output' }),
    pset: Flags.string({ char: 'P', description: 'set an output option', helpValue: 'VAR[=ARG]' }),
    'record-separator': Flags.string({
      char: 'R',
      description: 'record separator of unaligned output',
      helpValue: 'STRING',
    }),
    'tuples-only': Flags.boolean({ char: 't', description: 'rows only' }),
    'table-attr': Flags.string({ char: 'T', description: 'attributes of the HTML table', helpValue: 'TEXT' }),
    expanded: Flags.boolean({ char: 'x', description: 'expanded output' }),
    'field-separator-zero': Flags.boolean({ char: 'z', description: 'zero byte between fields' }),
    'record-separator-zero': Flags.boolean({ description: '-0: zero byte between records' }),
    host: Flags.string({
      char: 'h',
      description: 'database server host or socket directory',
      helpValue: 'HOSTNAME',
    }),
    port: Flags.string({ char: 'p', description: 'database server port', helpValue: 'PORT' }),
    username: Flags.string({ char: 'U', description: 'user name to connect as', helpValue: 'USERNAME' }),
    'no-password': Flags.boolean({ char: 'w', description: 'never prompt for password' }),
    password: Flags.boolean({ char: 'W', description: 'force password prompt' }),
  };

  async run(): Promise<void> {
    const { runPsql } = await import('../src/psql/main.js');
    const { processIo } = await import('../src/psql/io.js');
    const home = process.env['AURORA_HOME'];
    const { defaultServer } = home
      ? await import('../src/cluster/default-server.js')
      : { defaultServer: () => null };
    const cluster = home ? async () => (await import('../src/cluster/status.js')).clusterStatus(home) : null;
    const status = await runPsql(this.argv, processIo(), () => defaultServer(home), cluster);
    process.stdin.destroy(); // an open pipe would keep the process waiting
    if (status !== 0) this.exit(status);
  }
}
