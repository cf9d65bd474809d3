import { DbError } from '../errors.js';
import {
  ADDRESS_BYTES_MAX,
  CONDITIONS,
  COUNTER_MAX,
  ID_BYTES_MAX,
  LOAD_MAX,
  MEMBERS_MAX,
  MESSAGE_KINDS,
  NEWS_BYTES_MAX,
  STATUSES,
  type GossipMessage,
} from './types.js';
import { newsBytes } from './member.js';

/** Refuses what no sound node sends. Throws GOSSIP_BAD_MESSAGE; nothing of the message counts then. */
export function validateMessage(message: GossipMessage): void {
  const { kind, seq, target, digest, news, wants } = message;
  need(MESSAGE_KINDS.includes(kind), 'kind', kind);
  need(isCount(seq, 0xffff_ffff), 'seq', seq);
  const hasTarget = kind === 'ping-req' || kind === 'relayed-ack';
  need(hasTarget ? isName(target, ID_BYTES_MAX) : target === '', 'target', target);
  need(digest.length <= (kind === 'ping' ? MEMBERS_MAX : 0), 'digest length', digest.length);
  need(news.length <= MEMBERS_MAX, 'news length', news.length);
  need(wants.length <= (kind === 'ack' ? MEMBERS_MAX : 0), 'wants length', wants.length);
  for (const entry of digest) {
    claim(entry.id, entry.incarnation, entry.status);
    need(isCount(entry.version), 'version', entry.version);
  }
  need(new Set(digest.map(({ id }) => id)).size === digest.length, 'digest', 'a member twice');
  let bytes = 0;
  for (const item of news) {
    const { vector } = item;
    claim(item.id, item.incarnation, item.status);
    for (const key of ['version', 'epoch', 'scl', 'commitLsn', 'appliedLsn', 'gcLsn'] as const)
      need(isCount(vector[key], key === 'version' ? COUNTER_MAX : Number.MAX_SAFE_INTEGER), key, vector[key]);
    need(CONDITIONS.includes(vector.condition), 'condition', vector.condition);
    need(isCount(vector.load, LOAD_MAX), 'load', vector.load);
    need(isName(vector.address, ADDRESS_BYTES_MAX), 'address', vector.address);
    bytes += newsBytes(item);
  }
  need(bytes <= NEWS_BYTES_MAX, 'news bytes', bytes);
  for (const id of wants) need(isName(id, ID_BYTES_MAX), 'wanted id', id);
}

function claim(id: string, incarnation: number, status: string): void {
  need(isName(id, ID_BYTES_MAX), 'id', id);
  need(isCount(incarnation), 'incarnation', incarnation);
  need((STATUSES as readonly string[]).includes(status), 'status', status);
}

function isCount(value: number, max = COUNTER_MAX): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= max;
}

/** Printable, for it ends up in logs and on terminals. */
function isName(value: string, bytesMax: number): boolean {
  if (value.length <= bytesMax && /^[\x20-\x7e]+$/.test(value)) return true; // nearly all, and much faster
  return value !== '' && Buffer.byteLength(value) <= bytesMax && !/[\p{C}\p{Zl}\p{Zp}]/u.test(value);
}

function need(condition: boolean, what: string, value: unknown): void {
  if (!condition)
    throw new DbError('GOSSIP_BAD_MESSAGE', `gossip with a bad ${what}: ${String(value).slice(0, 80)}`, {
      reaction: 'retry',
    });
}
