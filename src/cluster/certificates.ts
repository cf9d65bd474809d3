import { randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';
import type * as X509 from '@peculiar/x509';
import { DbError, errorMessage } from '../engine/errors.js';
import { identityUri, type TlsFiles, type TlsIdentity } from '../net/tls.js';

/**
 * A cluster's own certificate authority, in a folder of the cluster's directory:
 *
 *   ca.crt          the authority's certificate: what everybody trusts
 *   ca.key          its key; whoever has it can make members of the cluster
 *   node-1.pem, compute-primary.pem, tool.pem   a member's certificate and key, in one file so that they are replaced together
 *
 * Keys are ECDSA P-256. All but ca.crt are readable by their owner only.
 */
const CA_DAYS = 3650;
const MEMBER_DAYS = 365;
/** Certificates are renewed at a start when less than this part of their time is left. */
const RENEW_BELOW = 1 / 3;
const DAY_MS = 86_400_000;
/** For clocks that are behind. */
const EARLY_MS = 3_600_000;
const KEY = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export interface MemberCertificate {
  readonly identity: string;
  readonly file: string;
  readonly notAfter: Date;
  readonly hosts: readonly string[];
}

/** The library takes a third of a second to load, which commands that make no certificate need not wait for. */
async function library(): Promise<typeof X509> {
  await import('reflect-metadata'); // its one need
  return import('@peculiar/x509');
}

export class CertificateAuthority {
  private constructor(
    readonly dir: string,
    private readonly x509: typeof X509,
    private readonly certificate: X509.X509Certificate,
    private readonly key: webcrypto.CryptoKey,
  ) {}

  /** Makes the folder and a new authority in it. */
  static async create(dir: string, volumeId: string): Promise<CertificateAuthority> {
    const x509 = await library();
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=OpenAurora cluster ${volumeId}`,
      ...validity(CA_DAYS),
      serialNumber: serial(),
      signingAlgorithm: KEY,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    writePrivate(path.join(dir, 'ca.key'), await privatePem(keys.privateKey));
    writePrivate(path.join(dir, 'ca.crt'), certificate.toString('pem'), 0o644);
    return new CertificateAuthority(dir, x509, certificate, keys.privateKey);
  }

  /** Throws CLUSTER_NO_CA when its key or certificate is not here, or unusable. */
  static async open(dir: string): Promise<CertificateAuthority> {
    const x509 = await library();
    try {
      const certificate = new x509.X509Certificate(readFileSync(path.join(dir, 'ca.crt'), 'utf8'));
      const pem = readFileSync(path.join(dir, 'ca.key'), 'utf8');
      const pkcs8 = x509.PemConverter.decodeFirst(pem);
      const key = await webcrypto.subtle.importKey('pkcs8', pkcs8, KEY, false, ['sign']);
      return new CertificateAuthority(dir, x509, certificate, key);
    } catch (cause) {
      // The library's words may quote what it read.
      const why = (cause as NodeJS.ErrnoException).code
        ? errorMessage(cause)
        : 'not a key and its certificate';
      throw new DbError('CLUSTER_NO_CA', `no usable certificate authority in ${dir}: ${why}`, {
        hint: 'Issue certificates where ca.key is kept.',
      });
    }
  }

  /**
   * A new key and certificate for a member, in place of an older one. `hosts` are the addresses and names under which a node is dialled.
   */
  async issue(identity: TlsIdentity, hosts: readonly string[], dir = this.dir): Promise<TlsFiles> {
    const { x509 } = this;
    const keys = await newKeys();
    const usages = [x509.ExtendedKeyUsage.clientAuth];
    if (identity.startsWith('node:')) usages.unshift(x509.ExtendedKeyUsage.serverAuth);
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${identity.replace(':', ' ')}`,
      issuer: this.certificate.subject,
      ...validity(MEMBER_DAYS, this.certificate.notAfter),
      serialNumber: serial(),
      signingAlgorithm: KEY,
      publicKey: keys.publicKey,
      signingKey: this.key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usages),
        new x509.SubjectAlternativeNameExtension([
          ...hosts.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
          { type: 'url' as const, value: identityUri(identity) },
        ]),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
        await x509.AuthorityKeyIdentifierExtension.create(this.certificate.publicKey),
      ],
    });
    const files = memberFiles(dir, identity);
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    writePrivate(files.certFile, `${certificate.toString('pem')}\n${await privatePem(keys.privateKey)}`);
    const ca = path.join(this.dir, 'ca.crt');
    if (files.caFile !== ca) writePrivate(files.caFile, readFileSync(ca, 'utf8'), 0o644);
    return files;
  }
}

/** Where a member's files are in an authority's folder. */
export function memberFiles(dir: string, identity: TlsIdentity): TlsFiles {
  const file = path.join(dir, `${encodeURIComponent(identity.replace(':', '-'))}.pem`);
  return { caFile: path.join(dir, 'ca.crt'), certFile: file, keyFile: file };
}

/** The member's files, issued or renewed first when they are missing, near their end, or for other addresses. Throws CLUSTER_NO_CA. */
export async function ensureMember(
  dir: string,
  identity: TlsIdentity,
  hosts: readonly string[],
): Promise<TlsFiles> {
  const files = memberFiles(dir, identity);
  const found = existsSync(files.certFile) ? describeCertificate(files.certFile) : null;
  if (found && !isDue(found) && hosts.every((host) => found.hosts.includes(host))) return files;
  try {
    return await (await CertificateAuthority.open(dir)).issue(identity, hosts);
  } catch (err) {
    // One that is still good serves until the authority is back.
    if (found && Date.now() < found.notAfter.getTime()) return files;
    throw err;
  }
}

/** Throws USAGE_TLS. */
export function describeCertificate(file: string): MemberCertificate {
  try {
    const certificate = new X509Certificate(readFileSync(file));
    const names = (certificate.subjectAltName ?? '').split(', ');
    const after = (prefix: string): string[] =>
      names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    return {
      identity: after('URI:openaurora:').join(', '),
      file,
      notAfter: new Date(certificate.validTo),
      hosts: [...after('DNS:'), ...after('IP Address:')],
    };
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).syscall ? errorMessage(cause) : 'not a certificate';
    throw new DbError('USAGE_TLS', `cannot use ${file}: ${why}`);
  }
}

/** Names of this machine's loopback, and the address that others use. */
export function hostNames(host: string): string[] {
  return [...new Set([host, 'localhost', '127.0.0.1'])];
}

function isDue({ notAfter }: MemberCertificate): boolean {
  return notAfter.getTime() - Date.now() < MEMBER_DAYS * DAY_MS * RENEW_BELOW;
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(KEY, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function privatePem(key: webcrypto.CryptoKey): Promise<string> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}

function validity(days: number, notLaterThan = new Date(8.64e15)): { notBefore: Date; notAfter: Date } {
  const end = Date.now() + days * DAY_MS;
  return {
    notBefore: new Date(Date.now() - EARLY_MS),
    notAfter: new Date(Math.min(end, notLaterThan.getTime())),
  };
}

/** Positive, and short enough for everybody. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0]! &= 0x7f;
  bytes[0]! |= 0x40;
  return bytes.toString('hex');
}

/** Whole or not at all, and never open to others, whatever the umask is. */
function writePrivate(file: string, text: string, mode = 0o600): void {
  const temporary = `${file}.new`;
  rmSync(temporary, { force: true });
  writeFileSync(temporary, text, { mode, flag: 'wx' });
  chmodSync(temporary, mode);
  renameSync(temporary, file);
}
