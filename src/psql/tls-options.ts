/** sslmode and its certificates as options of Node's TLS. */
import fs from 'node:fs';
import os from 'node:os';
import type { ConnectionOptions as TlsOptions } from 'node:tls';
import { DbError } from '../engine/errors.js';
import type { ConnectionParameters } from './connection-string.js';

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type SslMode = (typeof MODES)[number];

/** Throws USAGE_CONNECTION for a word that is no mode, and for one that would make little of everybody's authorities. */
export function sslMode({ sslmode, sslrootcert }: ConnectionParameters): SslMode {
  const isSystem = sslrootcert === 'system';
  const mode = MODES.find((name) => name === (sslmode ?? (isSystem ? 'verify-full' : 'prefer')));
  if (!mode) throw new DbError('USAGE_CONNECTION', `invalid sslmode value: "${sslmode}"`);
  if (isSystem && mode !== 'verify-full')
    throw new DbError(
      'USAGE_CONNECTION',
      `weak sslmode "${mode}" may not be used with sslrootcert=system (use "verify-full")`,
    );
  return mode;
}

/** Whether to try TLS, and then whether to try the other way; over a socket file there is no TLS. */
export function tlsAttempts(mode: SslMode, host: string): boolean[] {
  if (host.startsWith('/') || mode === 'disable') return [false];
  if (mode === 'allow') return [false, true];
  return mode === 'prefer' ? [true, false] : [true];
}

/** Throws USAGE_CONNECTION when a certificate that must be there is not. */
export function tlsOptions(
  mode: SslMode,
  host: string,
  given: ConnectionParameters,
  env: NodeJS.ProcessEnv,
): TlsOptions {
  const folder = `${env['HOME'] ?? os.homedir()}/.postgresql`;
  const certificate = read(given.sslcert, `${folder}/postgresql.crt`);
  const own: TlsOptions = certificate
    ? {
        cert: certificate,
        key: read(given.sslkey, `${folder}/postgresql.key`) ?? undefined,
        passphrase: given.sslpassword,
      }
    : {};
  if (!/^[\d.]+$|:/.test(host)) own.servername = host;
  const verifies = mode === 'verify-ca' || mode === 'verify-full';
  if (given.sslrootcert === 'system') return { ...own, rejectUnauthorized: true }; // by the authorities that Node.js brings
  const rootFile = given.sslrootcert ?? `${folder}/root.crt`;
  const root = read(undefined, rootFile);
  if (verifies && root === null)
    throw new DbError(
      'USAGE_CONNECTION',
      `root certificate file "${rootFile}" does not exist\nEither provide the file, use the system's trusted roots with sslrootcert=system, or change sslmode to disable server certificate verification.`,
    );
  // As libpq: "require" verifies too where a root certificate is at hand.
  if (!verifies && (root === null || mode !== 'require')) return { ...own, rejectUnauthorized: false };
  const checksName = mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined };
  return { ...own, ca: root!, rejectUnauthorized: true, ...checksName };
}

/** A file that was named must be there; one at its usual place may be missing. */
function read(named: string | undefined, usual: string): Buffer | null {
  try {
    return fs.readFileSync(named ?? usual);
  } catch (err) {
    if (named === undefined) return null;
    throw new DbError(
      'USAGE_CONNECTION',
      `could not read certificate file "${named}": ${(err as Error).message}`,
    );
  }
}
