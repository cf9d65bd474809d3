import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { canonicalPath, expandTilde, runShell, systemReason } from './io.js';
import type { Session } from './session.js';

/**
 * Opens $PSQL_EDITOR, $EDITOR, $VISUAL or vi on a file, or on the text in a temporary one.
 * Null, with a message, when that failed.
 */
export async function editText(
  session: Session,
  text: string,
  fileArg: string | null,
  line: number | null,
): Promise<{ text: string; isChanged: boolean } | null> {
  const { env } = session.io;
  const editor = env['PSQL_EDITOR'] ?? env['EDITOR'] ?? env['VISUAL'] ?? 'vi';
  const lineFlag = line === null ? '' : `${env['PSQL_EDITOR_LINENUMBER_ARG'] ?? '+'}${line} `;
  const folder =
    fileArg === null ? fs.mkdtempSync(path.join(env['TMPDIR'] ?? os.tmpdir(), 'psql.edit.')) : null;
  const file = folder === null ? canonicalPath(expandTilde(fileArg!, env)) : path.join(folder, 'query.sql');
  try {
    if (folder !== null)
      fs.writeFileSync(file, text === '' || text.endsWith('\n') ? text : `${text}\n`, { mode: 0o600 });
    const before = modified(file);
    const status = await runShell(`exec ${editor} ${lineFlag}'${file}'`, session.io);
    if (status === 127) {
      session.error(`could not start editor "${editor}"`);
      return null;
    }
    if (status !== 0) return null; // the editor has said why
    const isChanged = modified(file) !== before;
    return { text: isChanged ? fs.readFileSync(file, 'utf8') : text, isChanged };
  } catch (err) {
    session.error(`${file}: ${systemReason(err)}`);
    return null;
  } finally {
    if (folder !== null) fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Tells one state of a file from another; a file that is not there yet is a state too. */
function modified(file: string): string {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat ? `${stat.mtimeMs}/${stat.size}` : '';
}
