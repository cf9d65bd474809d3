/** Gossip views as lines of text, the same for the terminal's live view and for plain output. */
import { formatLsn } from '../engine/lsn.js';
import type { GossipView, MemberView } from '../engine/gossip/types.js';
import type { NodeGossip } from './gossip.js';
import { paintLines, type Tone, type ToneLine } from './tone.js';
import { shortAge } from './units.js';

const TONES: Readonly<Record<MemberView['state'], Tone>> = {
  alive: 'good',
  suspect: 'doubtful',
  unknown: 'doubtful',
  left: 'plain',
  dead: 'bad',
};
const HEAD = [
  'member',
  'state',
  'incarnation',
  'epoch',
  'SCL',
  'applied',
  'commit',
  'GC',
  'load',
  'news',
  'address',
];
const STATE_COLUMN = 1;
/** News older than this many rounds are marked. */
const STALE_ROUNDS = 10;

export function gossipLines(nodes: readonly NodeGossip[]): ToneLine[] {
  return nodes.flatMap(({ id, address, view, problem }, i) => {
    const title: ToneLine[] = i > 0 ? [[]] : [];
    if (!view) {
      title.push([{ text: `node ${id} (${address}) does not answer: ${problem ?? 'unknown'}`, tone: 'bad' }]);
      return title;
    }
    const round = `a round every ${view.intervalMs} ms, ${view.rounds} so far`;
    title.push([{ text: `view of node ${id}`, tone: 'strong' }, { text: `  ${round}`, tone: 'plain' }]); // prettier-ignore
    return [...title, ...viewLines(view)];
  });
}

export function gossipText(nodes: readonly NodeGossip[]): string {
  return paintLines(gossipLines(nodes));
}

function viewLines({ members, intervalMs }: GossipView): ToneLine[] {
  const rows = members.map((member) => row(member));
  const widths = HEAD.map((name, i) => Math.max(name.length, ...rows.map((cells) => cells[i]!.length)));
  const padded = (cells: readonly string[]): string[] =>
    cells.map((cell, i) => (i === cells.length - 1 ? cell : `${cell.padEnd(widths[i]!)}  `));
  const head: ToneLine = [{ text: padded(HEAD).join(''), tone: 'plain' }];
  return [
    head,
    ...members.map((member, m) =>
      padded(rows[m]!).map((text, i) => ({ text, tone: toneOf(member, i, intervalMs) })),
    ),
  ];
}

function toneOf(member: MemberView, column: number, intervalMs: number): Tone {
  if (column === STATE_COLUMN)
    return member.state === 'alive' && member.condition !== 'ok' ? 'doubtful' : TONES[member.state];
  const stale = member.newsAgeMs !== null && member.newsAgeMs > STALE_ROUNDS * intervalMs;
  return HEAD[column] === 'news' && stale ? 'doubtful' : 'plain';
}

function row(member: MemberView): string[] {
  const heard = member.version > 0;
  const at = (value: number): string => (heard ? formatLsn(value) : '-');
  return [
    member.self ? `${member.id} (itself)` : member.id,
    member.condition === 'ok' ? member.state : `${member.state}, ${member.condition}`,
    String(member.incarnation),
    heard ? String(member.epoch) : '-',
    at(member.scl),
    at(member.appliedLsn),
    at(member.commitLsn),
    at(member.gcLsn),
    heard ? `${(member.load / 10).toFixed(0)}%` : '-',
    member.self ? '-' : shortAge(member.newsAgeMs),
    member.address,
  ];
}
