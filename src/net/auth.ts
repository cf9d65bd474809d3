import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Role } from './node-status.js';

/**
 * Challenge-response with the cluster secret, which itself never travels:
 *
 *   client -> Hello        volume, role, its name, the node it wants ('' = any), its nonce
 *   node   -> Challenge    its name, its nonce
 *   client -> Authenticate HMAC-SHA256(secret, "client" and all of the above)
 *   node   -> Welcome      HMAC-SHA256(secret, "node"   and all of the above)
 *
 * Both nonces are in both codes, so an old exchange cannot be replayed; the label stops reflecting one side's code back at it.
 */
export const NONCE_BYTES = 32;
export const MAC_BYTES = 32;

export interface Handshake {
  volumeId: string;
  role: Role;
  clientId: string;
  nodeId: string;
  clientNonce: Buffer;
  nodeNonce: Buffer;
}

export function newNonce(): Buffer {
  return randomBytes(NONCE_BYTES);
}

export function handshakeMac(secret: Buffer, side: 'client' | 'node', about: Handshake): Buffer {
  const mac = createHmac('sha256', secret);
  const parts = [side, about.volumeId, about.role, about.clientId, about.nodeId].map((s) => Buffer.from(s));
  for (const part of [Buffer.from('openaurora-1'), ...parts, about.clientNonce, about.nodeNonce]) {
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
