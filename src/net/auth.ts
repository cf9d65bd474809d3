import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Role } from './node-status.js';

/**
 * Challenge-response with the cluster secret, which itself never travels:
 *
 *   client -> Hello        volume, role, its name, the node it wants ('' = any), its nonce
 *   node   -> Challenge    its name, its nonce
 *   client -> Authenticate HMAC-SHA256(secret, "client" and all of the above, and the channel)
 *   node   -> Welcome      HMAC-SHA256(secret, "node"   and all of the above, and the channel)
 *
 * Both nonces are in both codes, so an old exchange cannot be replayed; the label stops reflecting one side's code back at it. The client
 * proves nothing to a node with another name than the one it wants, so that nobody can pass its proof on to the node of that name. The
 * channel is the TLS connection's exporter (tls.ts): whoever stands between with two TLS connections, even with a good certificate, has two
 * channels, and neither side's code is any use on the other. Without TLS it is empty, and a man in the middle is possible: loopback only.
 */
export const NONCE_BYTES = 32;
export const MAC_BYTES = 32;
/** Names are for logs and status too. */
const NAME_PATTERN = /^[\x20-\x7e]{0,128}$/;

export interface Handshake {
  volumeId: string;
  role: Role;
  clientId: string;
  /** The node that the client wants, '' for any. */
  wantedId: string;
  /** The node that answers. */
  nodeId: string;
  clientNonce: Buffer;
  nodeNonce: Buffer;
  /** See channelOf() in tls.ts; empty without TLS. */
  channel: Buffer;
}

export function newNonce(): Buffer {
  return randomBytes(NONCE_BYTES);
}

export function handshakeMac(secret: Buffer, side: 'client' | 'node', about: Handshake): Buffer {
  const mac = createHmac('sha256', secret);
  const { volumeId, role, clientId, wantedId, nodeId, clientNonce, nodeNonce, channel } = about;
  const texts = ['openaurora-2', side, volumeId, role, clientId, wantedId, nodeId];
  for (const part of [...texts.map((text) => Buffer.from(text)), clientNonce, nodeNonce, channel]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(part.length);
    mac.update(length).update(part); // lengths first: no two handshakes give the same input
  }
  return mac.digest();
}

/** Constant-time; false for a code of the wrong length. */
export function sameMac(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function isRole(text: string): text is Role {
  return text === 'compute' || text === 'peer' || text === 'tool';
}

/** What may stand in a handshake as a name. */
export function isName(text: string): boolean {
  return NAME_PATTERN.test(text);
}
