import { createPrivateKey, constants, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import {
  checkServerIdentity,
  type PeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
} from 'node:tls';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';

/**
 * Mutual TLS between daemons. Both sides verify the other's certificate against the cluster's CA, and take from it who the other is: a URI
 * among the certificate's alternative names, `openaurora:node:1`, `openaurora:compute:primary` or `openaurora:tool`. A certificate may
 * hold several; one that holds none is no member of the cluster, whoever signed it.
 */
export interface TlsFiles {
  /** Certificates of the authorities that sign the cluster's certificates, PEM. */
  caFile: string;
  /** This side's certificate, with intermediate ones behind it if there are any, PEM. */
  certFile: string;
  /** Its private key, PEM, mode 0600; may be the same file as `certFile`. */
  keyFile: string;
}

export type TlsIdentity = `node:${string}` | `compute:${string}` | 'tool';

const URI_PREFIX = 'openaurora:';
/** A changed file is noticed by the first connection after this much time. */
const CHECK_MS = 5000;
/** RFC 9266; the same on both ends of one TLS connection, and on no other. */
const EXPORTER_LABEL = 'EXPORTER-Channel-Binding';
const CHANNEL_BYTES = 32;

export function identityUri(identity: TlsIdentity): string {
  return URI_PREFIX + identity;
}

/** Throws USAGE_CONFIG when `value` (of a JSON file) is neither null nor three paths. */
export function tlsFilesOf(value: unknown, resolve: (file: string) => string): TlsFiles | null {
  if (value === null || value === undefined) return null;
  const { caFile, certFile, keyFile } = value as Partial<Record<keyof TlsFiles, unknown>>;
  if (typeof caFile !== 'string' || typeof certFile !== 'string' || typeof keyFile !== 'string')
    throw new DbError('USAGE_CONFIG', '"tls" must be null or { caFile, certFile, keyFile }');
  return { caFile: resolve(caFile), certFile: resolve(certFile), keyFile: resolve(keyFile) };
}

interface Loaded {
  readonly pem: { readonly ca: Buffer; readonly cert: Buffer; readonly key: Buffer };
  readonly certificate: X509Certificate;
  readonly stamp: string;
}

/** One side's certificate, key and authorities, read again when the files change: a renewed certificate needs no restart. */
export class TlsCredentials {
  /** Counts the times that the files were read. */
  generation = 0;
  private checkedMs = performance.now();

  private constructor(
    readonly files: TlsFiles,
    private loaded: Loaded,
  ) {}

  /** Throws USAGE_TLS: a file that cannot be read, a key open to others, a key of another certificate, a certificate out of its time. */
  static load(files: TlsFiles): TlsCredentials {
    return new TlsCredentials(files, read(files));
  }

  /** For tls.connect, tls.createServer and setSecureContext. */
  get context(): SecureContextOptions {
    return {
      ...this.loaded.pem,
      minVersion: 'TLSv1.3',
      // No resumption: every connection shows a certificate that is good now.
      secureOptions: constants.SSL_OP_NO_TICKET,
    };
  }

  get identities(): readonly string[] {
    return identitiesIn(this.loaded.certificate.subjectAltName);
  }

  get notAfter(): Date {
    return new Date(this.loaded.certificate.validTo);
  }

  /** Reads the files anew when they have changed. Throws USAGE_TLS, and stays with what it had. */
  refresh(): void {
    const now = performance.now();
    if (now - this.checkedMs < CHECK_MS) return;
    this.checkedMs = now;
    if (stampOf(this.files) === this.loaded.stamp) return;
    this.loaded = read(this.files);
    this.generation += 1;
  }

  /** Throws USAGE_TLS when the certificate is not of `identity`. */
  assertOf(identity: TlsIdentity): void {
    if (this.identities.includes(identity)) return;
    const is = this.identities.join(', ') || 'nobody in this cluster';
    throw new DbError('USAGE_TLS', `the certificate ${this.files.certFile} is of ${is}, not of ${identity}`, {
      hint: `Its subject alternative names must hold URI:${identityUri(identity)}.`,
    });
  }
}

/** Who a verified certificate says its holder is, without the URI's prefix. */
export function identitiesOf(peer: PeerCertificate): readonly string[] {
  return identitiesIn(peer.subjectaltname);
}

function identitiesIn(names: string | undefined): readonly string[] {
  // Node.js quotes a name with a comma or a quote in it. None of ours has one, and none shall be found inside of such a name.
  if (names === undefined || names.includes('"')) return [];
  return names
    .split(', ')
    .filter((name) => name.startsWith(`URI:${URI_PREFIX}`))
    .map((name) => name.slice(`URI:${URI_PREFIX}`.length));
}

/** tls.connect's check, once the chain is verified: the address that was dialled, and the node that is expected there. */
export function serverIdentityCheck(
  nodeId: string | undefined,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (host, certificate) => {
    const wrongHost = checkServerIdentity(host, certificate);
    if (wrongHost)
      return new DbError('NET_TLS_IDENTITY', `the certificate is not for ${host}: ${wrongHost.message}`, {
        hint: 'Issue a certificate that names this address: aurora cert issue',
      });
    return nodeId === undefined
      ? undefined
      : (identityError(certificate, `node:${nodeId}`, `storage node ${nodeId}`) ?? undefined);
  };
}

/** Null when the certificate belongs to `identity`; NET_TLS_IDENTITY otherwise. */
export function identityError(
  certificate: PeerCertificate,
  identity: TlsIdentity,
  who: string,
): DbError | null {
  const found = identitiesOf(certificate);
  if (found.includes(identity)) return null;
  const is = found.length === 0 ? 'of nobody in this cluster' : `of ${found.join(', ').slice(0, 100)}`;
  return new DbError('NET_TLS_IDENTITY', `${who} shows the certificate ${is}`);
}

/** Names the TLS connection in the authentication code: a code made for one connection is worth nothing on another. */
export function channelOf(socket: TLSSocket): Buffer {
  return socket.exportKeyingMaterial(CHANNEL_BYTES, EXPORTER_LABEL, Buffer.alloc(0));
}

/** What went wrong when a TLS connection could not be made, in our words; null when TLS is not the cause. */
export function tlsFailure(err: Error, where: string): DbError | null {
  if (isDbError(err)) return err;
  const { code = '' } = err as NodeJS.ErrnoException;
  // What OpenSSL says of an answer that is not TLS.
  if (/wrong version number|packet length too long/i.test(err.message))
    return new DbError('NET_TLS_NOT_SPOKEN', `${where} does not speak TLS`, {
      hint: 'Give it a certificate too ("tls" in its configuration); nothing is ever sent to it in plain text.',
      cause: err,
    });
  if (/CERT|SELF_SIGNED|UNABLE_TO_|SIGNATURE|INVALID_CA|INVALID_PURPOSE/.test(code) && !/ALERT/.test(code))
    return new DbError(
      'NET_TLS_CERTIFICATE',
      `the certificate of ${where} is not valid here: ${err.message}`,
      {
        hint: 'Compare the authorities on both sides, and the dates: aurora cert list',
        cause: err,
      },
    );
  if (/^(ERR_SSL|ERR_TLS|EPROTO)/.test(code))
    return new DbError('NET_TLS_FAILED', `no TLS connection with ${where}: ${code}`, { cause: err });
  return null;
}

/** An address that other machines cannot reach. A name other than localhost may be any address. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost') return true;
  const address = host.replace(/^::ffff:/i, '');
  return isIP(address) === 4 ? address.startsWith('127.') : host === '::1';
}

/** Throws USAGE_TLS_REQUIRED for an address that others can reach, unless there is TLS or the danger was accepted. */
export function requireTls(
  what: string,
  host: string,
  tls: TlsFiles | null,
  plaintextOffHost: boolean,
): void {
  if (tls !== null || plaintextOffHost || isLoopback(host)) return;
  throw new DbError(
    'USAGE_TLS_REQUIRED',
    `${what} ${host} is not a loopback address, and there is no certificate for TLS`,
    {
      hint: 'Give "tls" (caFile, certFile, keyFile; see aurora cert issue). On a network that nobody else can listen to, "allowPlaintext": true accepts plain text.',
    },
  );
}

function stampOf(files: TlsFiles): string {
  return Object.values(files)
    .map((file: string) => {
      const st = statSync(file, { throwIfNoEntry: false });
      return st ? `${st.ino} ${st.size} ${st.mtimeMs}` : '-';
    })
    .join(', ');
}

function read(files: TlsFiles): Loaded {
  const stamp = stampOf(files); // before the contents: a change meanwhile is seen next time
  const bytes = (file: string): Buffer => {
    try {
      return readFileSync(file);
    } catch (cause) {
      throw new DbError('USAGE_TLS', `cannot read ${file}: ${errorMessage(cause)}`, { cause });
    }
  };
  const pem = { ca: bytes(files.caFile), cert: bytes(files.certFile), key: bytes(files.keyFile) };
  const { mode } = statSync(files.keyFile);
  if ((mode & 0o077) !== 0)
    throw new DbError(
      'USAGE_TLS',
      `the private key ${files.keyFile} is open to other users (mode ${(mode & 0o777).toString(8)})`,
      { hint: `chmod 600 ${files.keyFile}` },
    );
  const certificate = parsed(files.certFile, () => new X509Certificate(pem.cert));
  parsed(files.caFile, () => new X509Certificate(pem.ca));
  const key = parsed(files.keyFile, () => createPrivateKey(pem.key));
  if (!certificate.checkPrivateKey(key))
    throw new DbError('USAGE_TLS', `${files.keyFile} is not the key of the certificate ${files.certFile}`);
  const now = Date.now();
  if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo))
    throw new DbError(
      'USAGE_TLS',
      `the certificate ${files.certFile} is valid from ${certificate.validFrom} to ${certificate.validTo}, which is not now`,
      { hint: 'Renew it: aurora cert renew' },
    );
  return { pem, certificate, stamp };
}

/** What OpenSSL says of a bad PEM may quote it; the file's name is all that is told. */
function parsed<T>(file: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new DbError('USAGE_TLS', `${file} does not hold what it should, in PEM`);
  }
}
