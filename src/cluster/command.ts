import { accessSync, closeSync, constants, openSync } from 'node:fs';
import path from 'node:path';
import { Command, Errors, Flags } from '@oclif/core';
import { clusterDenied } from './layout.js';
import { DbError, ERRNO_WORDS, errnoWords, errorMessage } from '../engine/errors.js';

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

/** Shells' exit status for a program that a signal ended. */
const SIGNAL_STATUS: Readonly<Record<string, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

const PARSING = /^Parsing (--[\w-]+)\s+/;

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
    if (dir !== undefined && dir !== '') return assertOurs(dir);
    throw new DbError(
      'USAGE_NO_CLUSTER',
      'no cluster directory specified and environment variable AURORA_HOME unset',
      {
        hint: `Give it with -D, or try "${this.program} --help" for more information.`,
      },
    );
  }

  /** The arguments of a command that takes any number of them. Throws USAGE_OPTION for what is meant as an option. */
  protected words(argv: readonly unknown[]): string[] {
    const words = argv.map(String);
    const option = words.find((word) => word.startsWith('-'));
    if (option === undefined) return words;
    throw new DbError('USAGE_OPTION', `unrecognized option "${option}"`, {
      hint: `Try "${this.program} --help" for more information.`,
    });
  }

  /** A line on standard error, so that standard output stays what a script wants to read. */
  protected note(line: string): void {
    process.stderr.write(`${line}\n`);
  }

  protected override async catch(
    err: Error & { exitCode?: number; oclif?: { exit?: number } },
  ): Promise<void> {
    // this.exit() of a command: not a failure.
    if (err instanceof Errors.ExitError) throw err;
    if (process.env['DEBUG']) process.stderr.write(`${err.stack ?? errorMessage(err)}\n`);
    // A flag's own parser may throw anything; the framework then puts the flag in front of the message.
    const usage = PARSING.test(err.message) || (!(err instanceof DbError) && err.oclif !== undefined);
    const message = usage ? usageMessage(err) : failureMessage(err);
    if (this.jsonEnabled()) {
      process.stdout.write(
        `${JSON.stringify({ error: { code: err instanceof DbError ? err.code : usage ? 'USAGE' : 'INTERNAL', message } })}\n`,
      );
    }
    process.stderr.write(`${this.program}: error: ${message}\n`);
    if (err instanceof DbError && err.hint) process.stderr.write(`${this.program}: hint: ${err.hint}\n`);
    if (usage)
      process.stderr.write(`${this.program}: hint: Try "${this.program} --help" for more information.\n`);
    const signal =
      err instanceof DbError && err.code === 'INTERRUPTED' ? /SIG\w+/.exec(message)?.[0] : undefined;
    this.exit(SIGNAL_STATUS[signal ?? ''] ?? this.failureStatus);
  }
}

/**
 * Without access to a cluster's files it looks as if it did not run, or were not there: say what is the matter instead.
 * Throws CLUSTER_DENIED.
 */
function assertOurs(dir: string): string {
  try {
    accessSync(path.join(dir, 'secret'), constants.R_OK);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EACCES') throw clusterDenied(dir, cause);
  }
  return dir;
}

/** Absolute, because daemons run elsewhere, and known to be writable before anything is started. Throws USAGE_LOG_FILE. */
export function logFilePath(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const resolved = path.resolve(file);
  try {
    closeSync(openSync(resolved, 'a', 0o600));
  } catch (cause) {
    throw new DbError('USAGE_LOG_FILE', `could not open log file "${file}": ${errnoWords(cause)}`, { cause });
  }
  return resolved;
}

/** What the system refused, as `cannot mkdir "/x": Permission denied`; other errors speak for themselves. */
function failureMessage(err: Error): string {
  const { code, syscall, path: file } = err as NodeJS.ErrnoException;
  if (err instanceof DbError || !code || !ERRNO_WORDS[code] || !syscall || !file) return errorMessage(err);
  return `cannot ${syscall} "${file}": ${ERRNO_WORDS[code]}`;
}

/** The parser's message on one line, in the words of PostgreSQL's programs where they have some. */
function usageMessage(err: Error): string {
  const { args, flags } = err as { args?: unknown; flags?: unknown };
  const first = (list: unknown): unknown => (Array.isArray(list) ? (list as unknown[])[0] : undefined);
  if (/^Unexpected argument/.test(err.message))
    return `too many command-line arguments (first is "${String(first(args))}")`;
  if (/^Nonexistent flag/.test(err.message)) return `unrecognized option "${String(first(flags))}"`;
  if (/^Missing \d+ required arg/.test(err.message))
    return `missing required argument "${String((first(args) as { name?: string } | undefined)?.name)}"`;
  const lines = err.message.replace(PARSING, 'option $1: ').split('\n');
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('See more help'))
    .join(' ');
}
