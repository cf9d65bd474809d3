import { readFileSync, statSync } from 'node:fs';
import { DbError, errnoWords } from '../engine/errors.js';

const SECRET_BYTES_MIN = 16;

/**
 * The cluster secret: the file's text without surrounding white space, as bytes. Every daemon and tool of a cluster reads the same file.
 * Throws USAGE_SECRET when it is missing, open to other users, or too short to be one.
 */
export function loadSecret(file: string): Buffer {
  let text: string;
  let mode: number;
  try {
    mode = statSync(file).mode;
    text = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new DbError('USAGE_SECRET', `could not read the cluster secret "${file}": ${errnoWords(cause)}`, {
      cause,
    });
  }
  if ((mode & 0o077) !== 0)
    throw new DbError(
      'USAGE_SECRET',
      `the cluster secret ${file} is open to other users (mode ${(mode & 0o777).toString(8)})`,
      {
        hint: `chmod 600 ${file}`,
      },
    );
  if (Buffer.byteLength(text) < SECRET_BYTES_MIN)
    throw new DbError('USAGE_SECRET', `the cluster secret ${file} is shorter than ${SECRET_BYTES_MIN} bytes`);
  return Buffer.from(text);
}
