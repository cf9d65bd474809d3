import type pg from 'pg';
import { DbError, errorMessage } from '../engine/errors.js';

/** One statement of a utility; failure is said in its words: "database creation failed: ERROR:  ...". Throws SQL_FAILED. */
export async function runSql(
  client: pg.Client,
  sql: string,
  failure: string,
  echo?: (sql: string) => void,
): Promise<void> {
  echo?.(sql);
  try {
    await client.query(sql);
  } catch (err) {
    const { severity, detail, hint } = err as pg.DatabaseError;
    const lines = [
      `${failure}: ${severity ? `${severity}:  ` : ''}${errorMessage(err)}`,
      ...(detail ? [`DETAIL:  ${detail}`] : []),
      ...(hint ? [`HINT:  ${hint}`] : []),
    ];
    throw new DbError('SQL_FAILED', lines.join('\n'), { reaction: 'usage', cause: err });
  }
}
