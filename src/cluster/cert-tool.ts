import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { DbError } from '../engine/errors.js';
import type { TlsFiles, TlsIdentity } from '../net/tls.js';
import { CertificateAuthority, describeCertificate, type MemberCertificate } from './certificates.js';
import { clusterLayout, type ClusterLayout } from './layout.js';
import { Manifest, type VolumeInfo } from './manifest.js';

/** What `aurora cert` shows and does. */
export function listCertificates(root: string): MemberCertificate[] {
  const { layout, volume } = tlsCluster(root);
  if (volume.tls?.kind === 'given')
    return [volume.tls.caFile, volume.tls.certFile].map((file) => describeCertificate(file));
  return readdirSync(layout.tls)
    .filter((name) => name.endsWith('.pem') || name === 'ca.crt')
    .sort()
    .map((name) => describeCertificate(path.join(layout.tls, name)));
}

/** New keys and certificates for all members, for the same addresses. Running daemons take them within seconds. Throws CLUSTER_NO_CA. */
export async function renewCertificates(root: string): Promise<MemberCertificate[]> {
  const { layout } = ownAuthority(root);
  const authority = await CertificateAuthority.open(layout.tls);
  for (const { identity, hosts } of listCertificates(root))
    if (identity !== '') await authority.issue(identity as TlsIdentity, hosts);
  return listCertificates(root);
}

/** A certificate for a member on another machine, in a folder to be taken there. Throws CLUSTER_NO_CA, USAGE_TLS. */
export async function issueCertificate(
  root: string,
  identity: TlsIdentity,
  hosts: readonly string[],
  outDir: string,
): Promise<TlsFiles> {
  if (identity.startsWith('node:') && hosts.length === 0)
    throw new DbError('USAGE_TLS', 'a storage node needs the address that it is dialled at', {
      hint: 'Give it with --host, once for each address or name.',
    });
  const { layout } = ownAuthority(root);
  return (await CertificateAuthority.open(layout.tls)).issue(identity, hosts, path.resolve(outDir));
}

function ownAuthority(root: string): { layout: ClusterLayout; volume: VolumeInfo } {
  const cluster = tlsCluster(root);
  if (cluster.volume.tls?.kind === 'own') return cluster;
  throw new DbError('CLUSTER_NO_CA', `cluster "${cluster.layout.root}" uses given certificates`, {
    hint: 'Renew them where they came from, and put them in place of the old files: running daemons take them by themselves.',
  });
}

function tlsCluster(root: string): { layout: ClusterLayout; volume: VolumeInfo } {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const { volume } = manifest;
    if (volume.tls && (volume.tls.kind === 'given' || existsSync(layout.tls))) return { layout, volume };
    throw new DbError('CLUSTER_NO_TLS', `cluster "${layout.root}" has no certificates`, {
      hint: 'Its daemons speak plain text on the loopback interface. Create a cluster with: aurora initdb --tls',
    });
  } finally {
    manifest.close();
  }
}

/** `node:ID`, `compute:NAME` or `tool`. Throws USAGE_TLS. */
export function identityArgument(text: string): TlsIdentity {
  if (text === 'tool' || /^(node|compute):[A-Za-z0-9_-]{1,32}$/.test(text)) return text as TlsIdentity;
  throw new DbError('USAGE_TLS', `"${text}" is neither node:ID nor compute:NAME nor tool`);
}

/** One line a certificate. */
export function certificateTable(certificates: readonly MemberCertificate[]): string {
  const rows = certificates.map(({ identity, notAfter, hosts, file }) => [
    identity === '' ? 'authority' : identity,
    notAfter.toISOString().slice(0, 10),
    hosts.join(' ') || '-',
    file,
  ]);
  const all = [['member', 'valid until', 'addresses', 'file'], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  return all.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  ')).join('\n');
}
