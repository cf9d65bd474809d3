import type { GossipMessage, MemberNews } from '../engine/gossip/types.js';
import type { BodyOf, Gossip } from './messages.js';

type GossipBody = BodyOf<typeof Gossip>;

/** On the wire a member's news is flat. */
export function gossipBody(message: GossipMessage): GossipBody {
  return {
    ...message,
    digest: [...message.digest],
    news: message.news.map(({ id, incarnation, status, vector }) => ({ id, incarnation, status, ...vector })),
    wants: message.wants.map((id) => ({ id })),
  };
}

/** Its bounds are checked by the receiver's state machine (validateMessage), not here. */
export function gossipMessage(body: GossipBody): GossipMessage {
  return {
    ...body,
    news: body.news.map(({ id, incarnation, status, ...vector }): MemberNews => ({
      id,
      incarnation,
      status,
      vector,
    })),
    wants: body.wants.map(({ id }) => id),
  };
}
