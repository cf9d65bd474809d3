import { Command, Flags } from '@oclif/core';
import { DbError, errorMessage } from '../engine/errors.js';

/** -D of every cluster command; AURORA_HOME stands in for it, as PGDATA does for pg_ctl. */
export const clusterFlag = {
  pgdata: Flags.string({
    char: 'D',
    aliases: ['dir'],
    description: 'directory of the cluster',
    env: 'AURORA_HOME',
    helpValue: 'DIR',
  }),
};

/**
 * What all commands share: PostgreSQL's way to fail ("aurora createdb: error: ...", a hint, an exit status) and no stack trace
 * unless DEBUG is set.
 */
export abstract class AuroraCommand extends Command {
  /** Exit status for failures without one of their own. */
  protected failureStatus = 1;

  /** The program name in messages: "aurora createdb". */
  protected get program(): string {
    return `aurora ${(this.id ?? '').replaceAll(':', ' ')}`;
  }

  protected requireCluster(dir: string | undefined): string {
    if (dir !== undefined && dir !== '') return dir;
    throw new DbError(
      'USAGE_NO_CLUSTER',
      'no cluster directory specified and environment variable AURORA_HOME unset',
      {
        hint: `Give it with -D, or try "${this.program} --help" for more information.`,
      },
    );
  }

  /** A line on standard error, so that standard output stays what a script wants to read. */
  protected note(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  protected override async catch(
    err: Error & { exitCode?: number; oclif?: { exit?: number } },
  ): Promise<void> {
    // this.exit() of a command: not a failure.
    if (err.message.startsWith('EEXIT')) throw err;
    if (process.env['DEBUG']) process.stderr.write(`${err.stack ?? errorMessage(err)}\n`);
    const usage = !(err instanceof DbError) && err.oclif !== undefined;
    const message = usage ? errorMessage(err).split('\n')[0]! : errorMessage(err);
    if (this.jsonEnabled()) {
      process.stdout.write(
        `${JSON.stringify({ error: { code: err instanceof DbError ? err.code : usage ? 'USAGE' : 'INTERNAL', message } })}\n`,
      );
    }
    process.stderr.write(`${this.program}: error: ${message}\n`);
    if (err instanceof DbError && err.hint) process.stderr.write(`${this.program}: hint: ${err.hint}\n`);
    if (usage)
      process.stderr.write(`${this.program}: hint: Try "${this.program} --help" for more information.\n`);
    process.exitCode = this.failureStatus;
    this.exit(this.failureStatus);
  }
}
