import { execFile } from 'node:child_process';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { DbError } from '../engine/errors.js';
import { customRmgrError, probePreload } from './custom-rmgr.js';
import { credentials, giveTo, type PgInstall } from './postgres.js';

const CHECK_MS = 10_000;
const HINT = 'The volume keeps the last good version of the file. Correct it, then: aurora reload';

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
    const given = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const args = ['-D', dataDir, '-C', 'port', ...given, '-c', `config_file=${file}`];
    await new Promise<void>((resolve, reject) => {
      const program = path.join(install.bindir, 'postgres');
      const options = { ...credentials(install), cwd: dataDir, timeout: CHECK_MS };
      execFile(program, args, options, (err, _stdout, stderr) => {
        if (!err) return resolve();
        const said = stderr.replaceAll(file, path.join(dataDir, 'postgresql.conf'));
        const reasons = said.split('\n').flatMap((line) => /\] LOG: +(.*)$/.exec(line)?.[1] ?? []);
        reject(
          new DbError('COMPUTE_BAD_SETTINGS', reasons.join('; ') || said.trim() || err.message, {
            reaction: 'usage',
            hint: HINT,
          }),
        );
      });
    });
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
  const { managers, failure } = await probePreload({ install, dataDir, settings });
  if (managers.length > 0) throw customRmgrError(managers, HINT);
  if (failure !== null) throw new DbError('COMPUTE_BAD_SETTINGS', failure, { reaction: 'usage', hint: HINT });
}
