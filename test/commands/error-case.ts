/** A command tried with bad input: how it has to end, and the check that it did. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { aurora, type CliOptions, type CliResult } from './cli.js';

export interface Case {
  args: string[];
  status: number;
  /** The line after `aurora COMMAND: error: `. */
  says: RegExp;
  /** Of the hint after it. */
  hint?: RegExp;
  options?: CliOptions;
}

export type Cases = Record<string, () => Case>;

/** Of these a cluster lets only one run at a time. */
const CHANGES_MEMBERS = /^storage (add|remove|replace)\b/;

/** Begins to run all of them, a few side by side: each mostly waits for files to be loaded. Their results come in the same order. */
export function runCases(cases: Cases, shared: CliOptions = {}): Map<string, Promise<CliResult>> {
  const lanes: Promise<unknown>[] = Array.from({ length: availableParallelism() + 1 }, () =>
    Promise.resolve(),
  );
  const results = new Map<string, Promise<CliResult>>();
  Object.keys(cases).forEach((name, i) => {
    const { args, options } = cases[name]!();
    const run = (): Promise<CliResult> =>
      aurora(args, { ...shared, ...options, env: { ...shared.env, ...options?.env } });
    const lane = CHANGES_MEMBERS.test(args.join(' ')) ? 0 : i % lanes.length;
    const result = lanes[lane]!.then(run, run);
    result.catch(() => undefined); // for the test that waits for it
    lanes[lane] = result;
    results.set(name, result);
  });
  return results;
}

/** One clear line, no stack trace, the right exit status. */
export async function assertFailed(
  { args, status, says, hint }: Case,
  ran: Promise<CliResult> | undefined,
): Promise<void> {
  const result = await ran;
  assert.ok(result, 'it was not run');
  const lines = result.stderr.split('\n').filter((line) => / error: /.test(line));
  assert.equal(lines.length, 1, `one line expected, got: ${result.stderr}`);
  assert.match(lines[0]!, says);
  assert.match(lines[0]!, new RegExp(`^(Enter new superuser password: )?aurora ${args[0]}( \\w+)?: error: `));
  if (hint) assert.match(/^aurora .*: hint: (.*)$/m.exec(result.stderr)?.[1] ?? 'no hint', hint);
  assert.doesNotMatch(result.stderr, /\n\s+at |Warning:/, 'a stack trace is not for users');
  assert.equal(result.status, status, result.stderr);
}
