/** One invocation through both programs, and what may differ between them. */
import assert from 'node:assert/strict';
import type { Case } from './cases.js';
import { runOurs, runReal, type Invocation, type Transcript } from './harness.js';

/** What may differ: said of the original's text, in terms of ours. */
const DIFFERENCES: { why: string; from: RegExp; to: string }[] = [
  { why: 'the program calls itself "aurora psql"', from: /^(?:\/usr\/\S*\/)?psql: /gm, to: 'aurora psql: ' },
  { why: 'and so do its hints', from: /Try "psql --help"/g, to: 'Try "aurora psql --help"' },
  {
    why: 'since psql 17 these frames are SQL comments',
    from: /^\*{8,9}( QUERY )\*{9,10}$/gm,
    to: '/********$1*********/',
  },
  { why: 'the same, below a query', from: /^\*{26}$/gm, to: '/************************/' },
  { why: 'the same, of single step', from: /^\*\*(\*\((?:Single step|press).*\)\*+)\*$/gm, to: '/*$1/' },
];

/** What differs from run to run. */
const MASKS: [RegExp, string][] = [
  [/with PID \d+/g, 'with PID N'],
  [/\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}/g, 'DATE'],
  [/psql\.edit\.\w[^'"\s:]*/g, 'TEMPORARY'],
  [/^Time: [\d.]+ ms.*$/gm, 'TIME'],
  [/\blo_(import|unlink) \d{5,}/g, 'lo_$1 OID'],
  [/^\d{5}$/gm, 'OID'],
];

function mask(text: string): string {
  return MASKS.reduce((current, [from, to]) => current.replace(from, to), text);
}

function adapt(text: string): string {
  return DIFFERENCES.reduce((current, { from, to }) => current.replace(from, to), text);
}

/** Fails unless both give the same. `places` are put in where a case says {socket} and the like. */
export async function assertSame(
  invocation: Case,
  env: Record<string, string>,
  options: { atOnce: boolean; places?: Record<string, string> },
): Promise<void> {
  const fill = (text: string): string =>
    Object.entries(options.places ?? {}).reduce(
      (filled, [name, value]) => filled.replaceAll(`{${name}}`, value),
      text,
    );
  const filled: Invocation = {
    ...invocation,
    args: invocation.args.map(fill),
    env: Object.fromEntries(Object.entries(invocation.env ?? {}).map(([name, value]) => [name, fill(value)])),
  };
  const original = runReal(filled, env);
  if (!options.atOnce) await original;
  const [real, ours] = (await Promise.all([original, runOurs(filled, env)])) as [Transcript, Transcript];
  assert.deepEqual(
    { stdout: mask(ours.stdout), stderr: mask(ours.stderr), status: ours.status },
    { stdout: mask(adapt(real.stdout)), stderr: mask(adapt(real.stderr)), status: real.status },
  );
}
