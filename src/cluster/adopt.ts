/** What has to be known of an existing data directory before a cluster is made of it, beyond what the import itself checks. */
import { existsSync, promises as fs } from 'node:fs';
import path from 'node:path';
import { checkServerSettings } from '../compute/settings-check.js';
import { giveTo, type PgInstall } from '../compute/postgres.js';
import { parseRelmap } from '../engine/control/index.js';
import { DbError, isDbError } from '../engine/errors.js';
import { BLCKSZ } from '../engine/page/constants.js';
import { HEAP_XMAX_INVALID, HEAP_XMIN_COMMITTED, HEAP_XMIN_INVALID, heapItems } from '../engine/page/heap.js';

const SETTINGS_FILES = ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf'];
/** Catalog that every cluster shares; which file it is, global/pg_filenode.map says. */
const PG_AUTHID = 1260;
/** The role that initdb made. */
const BOOTSTRAP_SUPERUSER = 10;
const NAME_BYTES = 64;

/**
 * Whether PostgreSQL could start with the settings of `pgdata` alone, which is all that the volume keeps: files that they include by a relative
 * name will not be there. `folder`: a new one, for copies. Throws IMPORT_SETTINGS, COMPUTE_CUSTOM_RMGR.
 */
export async function checkAdoptedSettings(
  install: PgInstall,
  pgdata: string,
  folder: string,
): Promise<void> {
  for (const name of SETTINGS_FILES)
    if (!existsSync(path.join(pgdata, name)))
      throw settingsError(
        `${pgdata} has no ${name}`,
        'Copy it there; Debian keeps it in /etc/postgresql/18/NAME.',
      );
  const conf = await fs.readFile(path.join(pgdata, 'postgresql.conf'), 'utf8');
  const elsewhere = /^\s*(data_directory|hba_file|ident_file)\b/im.exec(conf)?.[1];
  if (elsewhere)
    throw settingsError(
      `postgresql.conf in ${pgdata} sets ${elsewhere}`,
      'The volume says where these are: take it out of the file.',
    );
  await fs.mkdir(path.join(folder, 'global'), { recursive: true, mode: 0o700 });
  for (const dir of [path.join(folder, 'global'), folder]) await giveTo(install, dir);
  for (const name of ['PG_VERSION', 'global/pg_control', 'postgresql.auto.conf', ...SETTINGS_FILES]) {
    if (!existsSync(path.join(pgdata, name))) continue;
    const copy = path.join(folder, name);
    await fs.writeFile(copy, await fs.readFile(path.join(pgdata, name)), { mode: 0o600 });
    await giveTo(install, copy);
  }
  try {
    await checkServerSettings(install, folder, {});
  } catch (err) {
    if (!isDbError(err, 'COMPUTE_BAD_SETTINGS')) throw err;
    throw settingsError(
      `PostgreSQL could not start with the settings in ${pgdata}: ${err.message.replaceAll(folder, pgdata)}`,
      'Only postgresql.conf and postgresql.auto.conf themselves are kept: put what they include into them.',
    );
  }
}

/**
 * Name of the bootstrap superuser, read from pg_authid as it lies on disk. Throws IMPORT_SUPERUSER when it cannot be told: rows of the
 * catalog's past are still there, and which is current only the commit log knows.
 */
export async function superuserOf(pgdata: string): Promise<string> {
  const map = parseRelmap(
    await fs.readFile(path.join(pgdata, 'global/pg_filenode.map')),
    'global/pg_filenode.map',
  );
  const file = map.find(({ oid }) => oid === PG_AUTHID)?.relNumber;
  const pages = await fs.readFile(path.join(pgdata, 'global', String(file)));
  const names = new Set<string>();
  for (let at = 0; at + BLCKSZ <= pages.length; at += BLCKSZ)
    for (const { tuple } of heapItems(pages.subarray(at, at + BLCKSZ))) {
      if (!tuple || tuple.data.length < 4 + NAME_BYTES || tuple.data.readUInt32LE(0) !== BOOTSTRAP_SUPERUSER)
        continue;
      const { infomask, xmax } = tuple;
      const dead = (infomask & HEAP_XMIN_INVALID) !== 0 && (infomask & HEAP_XMIN_COMMITTED) === 0;
      if (!dead && (xmax === 0 || (infomask & HEAP_XMAX_INVALID) !== 0))
        names.add(tuple.data.toString('utf8', 4, 4 + NAME_BYTES).replace(/\0+$/, ''));
    }
  if (names.size === 1) return [...names][0]!;
  throw new DbError('IMPORT_SUPERUSER', `the superuser of ${pgdata} cannot be told from its files`, {
    reaction: 'usage',
    hint: 'Name the role that initdb made (its oid is 10) with -U.',
  });
}

function settingsError(message: string, hint: string): DbError {
  return new DbError('IMPORT_SETTINGS', message, { reaction: 'usage', hint });
}
