/** Runs the SQL files of test/workloads. What SQL cannot do is in redo-steps.ts and redo-interrupted.ts. */
import { promises as fs } from 'node:fs';
import type pg from 'pg';

const FOLDER = new URL('../workloads/', import.meta.url);

/** Statement by statement, as psql -f does: VACUUM and CREATE DATABASE refuse to run inside a longer string. */
export async function runSqlFile(client: pg.Client, name: string): Promise<void> {
  const text = await fs.readFile(new URL(name, FOLDER), 'utf8');
  let statement = '';
  for (const line of text.split('\n')) {
    if (/^\s*(--|$)/.test(line)) continue;
    statement += `${line}\n`;
    const inBody = statement.split('$$').length % 2 === 0;
    if (inBody || !line.trimEnd().endsWith(';')) continue;
    await client.query(statement).catch((err: Error) => {
      throw new Error(`${name}: ${err.message}\n${statement}`);
    });
    statement = '';
  }
}

/** Names of all workloads; those that CI leaves out begin with "slow-". */
export async function workloadNames(): Promise<string[]> {
  return (await fs.readdir(FOLDER)).filter((name) => name.endsWith('.sql')).sort();
}
