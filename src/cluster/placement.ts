/** Where copies are: spread evenly over zones, so that the loss of one whole zone stays within what the quorums forgive. */
import { DbError } from '../engine/errors.js';
import { quorumOf, votersOf, type Configuration } from '../engine/quorum/index.js';

/** Members per zone, of those that vote or are to vote; empty when there are no zones. */
export function zoneCounts(configuration: Pick<Configuration, 'members'>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { zone } of configuration.members)
    if (zone !== '') counts.set(zone, (counts.get(zone) ?? 0) + 1);
  return counts;
}

/** The zone with the fewest members, the first by name; '' when there are no zones. */
export function emptiestZone(configuration: Pick<Configuration, 'members'>): string {
  return [...zoneCounts(configuration)].sort(([a, n], [b, k]) => n - k || a.localeCompare(b))[0]?.[0] ?? '';
}

/** Difference between the fullest and the emptiest zone. */
function unevenness(configuration: Pick<Configuration, 'members'>): number {
  const counts = [...zoneCounts(configuration).values()];
  return counts.length === 0 ? 0 : Math.max(...counts) - Math.min(...counts);
}

/** Throws MEMBER_UNEVEN when `next` spreads copies less evenly than whole numbers allow and less than before. */
export function assertEven(
  before: Pick<Configuration, 'members'>,
  next: Pick<Configuration, 'members'>,
): void {
  const now = unevenness(next);
  const gone = [...zoneCounts(before).keys()].filter((zone) => !zoneCounts(next).has(zone));
  if (gone.length === 0 && (now <= 1 || now <= unevenness(before))) return;
  const spread = [...zoneCounts(next)].map(([zone, count]) => `${count} in ${zone}`).join(', ');
  throw new DbError(
    'MEMBER_UNEVEN',
    gone.length > 0
      ? `no copy would be left in zone ${gone.join(', ')}`
      : `copies would not be spread evenly over the zones: ${spread}`,
    { reaction: 'usage', hint: 'Choose another zone or node, or take it all the same with --force.' },
  );
}

export interface ZoneTolerance {
  /** Writes go on while any one zone is gone. */
  readonly writesWithoutAZone: boolean;
  /** Nothing acknowledged is lost with any one zone and one more node. */
  readonly keepsDataWithoutAZoneAndOne: boolean;
}

/** What the loss of a whole zone would mean; null without zones. */
export function zoneTolerance(configuration: Configuration): ZoneTolerance | null {
  const voters = votersOf(configuration);
  const members = configuration.members.filter(({ voter }) => voter);
  const largest = Math.max(0, ...zoneCounts({ members }).values());
  if (largest === 0) return null;
  const { writeQuorum, electQuorum } = quorumOf(configuration);
  return {
    writesWithoutAZone: voters.length - largest >= Math.max(writeQuorum, electQuorum),
    keepsDataWithoutAZoneAndOne: largest + 1 < writeQuorum,
  };
}
