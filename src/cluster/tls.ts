import { DbError } from '../engine/errors.js';
import { loadSecret } from '../net/secret.js';
import { TlsCredentials, type TlsFiles, type TlsIdentity } from '../net/tls.js';
import { ensureMember, memberFiles } from './certificates.js';
import type { ClusterLayout } from './layout.js';
import type { VolumeInfo } from './manifest.js';

/** Where a cluster's certificates come from: its own authority in `layout.tls`, or files that somebody else's authority signed. */
export type ClusterTls = { readonly kind: 'own' } | ({ readonly kind: 'given' } & TlsFiles);

/**
 * What a daemon of this cluster gets as "tls" in its configuration; null when the cluster speaks plain text. With its own authority the
 * certificate is issued or renewed first where that is due. `hosts`: the addresses under which a storage node is dialled.
 * Throws CLUSTER_NO_CA when it is due and the authority's key is not here.
 */
export async function memberTls(
  layout: ClusterLayout,
  volume: VolumeInfo,
  identity: TlsIdentity,
  hosts: readonly string[] = [],
): Promise<TlsFiles | null> {
  if (!volume.tls) return null;
  return volume.tls.kind === 'own' ? ensureMember(layout.tls, identity, hosts) : filesOf(volume.tls);
}

/** For StorageClientOptions. */
export interface ToolAccess {
  readonly secret: Buffer;
  readonly volumeId: string;
  readonly role: 'tool';
  readonly tls: TlsCredentials | null;
}

/** What a tool connects to storage nodes with. Throws USAGE_SECRET, USAGE_TLS. */
export function toolAccess(layout: ClusterLayout, volume: VolumeInfo): ToolAccess {
  const { volumeId, tls } = volume;
  const files = !tls ? null : tls.kind === 'own' ? memberFiles(layout.tls, 'tool') : filesOf(tls);
  return {
    secret: loadSecret(layout.secret),
    volumeId,
    role: 'tool',
    tls: files === null ? null : TlsCredentials.load(files),
  };
}

/** Given files must be those of every member that runs here. Throws USAGE_TLS. */
export function checkGivenTls(files: TlsFiles, identities: readonly TlsIdentity[]): void {
  const found = TlsCredentials.load(files).identities;
  const missing = identities.filter((identity) => !found.includes(identity));
  if (missing.length === 0) return;
  throw new DbError('USAGE_TLS', `the certificate ${files.certFile} is not of ${missing.join(', ')}`, {
    hint: `Its subject alternative names must hold ${missing.map((identity) => `URI:openaurora:${identity}`).join(', ')}.`,
  });
}

function filesOf({ caFile, certFile, keyFile }: TlsFiles): TlsFiles {
  return { caFile, certFile, keyFile };
}
