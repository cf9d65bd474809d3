import { execFile } from 'node:child_process';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { DbError } from '../engine/errors.js';
import { customRmgrError, probePreload } from './custom-rmgr.js';
import { credentials, giveTo, type PgInstall } from './postgres.js';

const CHECK_MS = 10_000;
const HINT = 'The volume keeps the last good version of the file. Correct it, then: aurora reload';

/** The value that a PostgreSQL started with this data directory would have of a setting. Throws COMPUTE_BAD_SETTINGS. */
export async function settingAtStart(
  install: PgInstall,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
  name: string,
): Promise<string> {
  const args = ['-D', dataDir, '-C', name, ...given(settings)];
  const { failure, said, stdout } = await askPostgres(install, dataDir, args);
  if (failure) throw new DbError('COMPUTE_BAD_SETTINGS', said || failure.message, { reaction: 'usage' });
  return stdout.trim();
}

/**
 * Whether a PostgreSQL could be started with this postgresql.conf, by PostgreSQL's own judgement ("postgres -C" reads all settings as a
 * start does, then ends). The file is looked at from a folder of its own, because only the file itself is kept in the volume:
 * what it includes by a relative name will not be there at the next start. pg_file_settings would not do: it gives an
 * invalid value the same words as a valid one that waits for a restart. Libraries to preload are loaded, which "postgres -C" does not.
 * Throws COMPUTE_BAD_SETTINGS with what PostgreSQL says, COMPUTE_CUSTOM_RMGR.
 */
export async function checkServerSettings(
  install: PgInstall,
  dataDir: string,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  const folder = await fs.mkdtemp(path.join(path.dirname(dataDir), 'settings-'));
  try {
    const file = path.join(folder, 'postgresql.conf');
    await fs.copyFile(path.join(dataDir, 'postgresql.conf'), file);
    for (const target of [folder, file]) await giveTo(install, target);
    const args = ['-D', dataDir, '-C', 'port', ...given(settings), '-c', `config_file=${file}`];
    const { failure, said } = await askPostgres(install, dataDir, args);
    if (failure) {
      const words = said.replaceAll(file, path.join(dataDir, 'postgresql.conf')) || failure.message;
      throw new DbError('COMPUTE_BAD_SETTINGS', words, { reaction: 'usage', hint: HINT });
    }
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
  const { managers, failure } = await probePreload({ install, dataDir, settings });
  if (managers.length > 0) throw customRmgrError(managers, HINT);
  if (failure !== null) throw new DbError('COMPUTE_BAD_SETTINGS', failure, { reaction: 'usage', hint: HINT });
}

function given(settings: Readonly<Record<string, string>>): string[] {
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** "postgres -C". `said`: why it fails, in its words. */
function askPostgres(
  install: PgInstall,
  dataDir: string,
  args: readonly string[],
): Promise<{ failure: Error | null; said: string; stdout: string }> {
  const program = path.join(install.bindir, 'postgres');
  const options = { ...credentials(install), cwd: dataDir, timeout: CHECK_MS };
  return new Promise((resolve) => {
    execFile(program, args, options, (failure, stdout, stderr) => {
      const reasons = stderr.split('\n').flatMap((line) => /\] LOG: +(.*)$/.exec(line)?.[1] ?? []);
      resolve({ failure, said: reasons.join('; ') || stderr.trim(), stdout });
    });
  });
}
