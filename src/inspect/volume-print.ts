/** `aurora inspect volume` and `inspect leases` as text of at most 80 columns where there is no wider terminal. */
import type { LeaseReport, VolumeNodeReport, VolumeReport } from './volume-report.js';
import { tableLines, type Column } from './table.js';
import { paintLines, piece, type ToneLine } from './tone.js';
import { shortAge, shortBytes } from './units.js';

/** Of a node's log files; --json has all. */
const FILES_SHOWN = 8;

const LEASES: readonly Column<LeaseReport>[] = [
  { title: 'node', cell: ({ node }) => node },
  { title: 'lease', cell: ({ name }) => name },
  { title: 'from LSN', cell: ({ lsn }) => lsn },
  { title: 'holds', align: 'right', cell: ({ holdsBytes }) => shortBytes(holdsBytes) },
  { title: 'renewed before', align: 'right', cell: ({ ageMs }) => shortAge(ageMs) },
];

export function volumeText(report: VolumeReport, width: number): string {
  const { copies, writeQuorum, readQuorum } = report;
  return paintLines([
    [piece(`volume ${report.id}`, 'strong')],
    [piece(`in ${report.directory}, made ${report.createdAt}`)],
    [piece(`system identifier ${report.systemIdentifier}`)],
    [piece(`${copies} copies, write quorum ${writeQuorum}, read quorum ${readQuorum}`)],
    ...report.nodes.flatMap((node) => [[], ...nodeLines(node, width)]),
  ]);
}

export function leasesText(report: VolumeReport, width: number): string {
  const leases = report.nodes.flatMap((node) => node.leases);
  const silent = report.nodes.filter(({ problem }) => problem !== null);
  return paintLines([
    ...(leases.length === 0 ? [[piece('nobody holds history')]] : tableLines(LEASES, leases, width)),
    ...silent.map(({ id, problem }): ToneLine => [piece(`node ${id} does not answer: ${problem}`, 'bad')]),
  ]);
}

function nodeLines(node: VolumeNodeReport, width: number): ToneLine[] {
  const title = piece(`node ${node.id}`, 'strong');
  if (node.problem !== null) return [[title, piece(` does not answer: ${node.problem}`, 'bad')]];
  const role = node.voter ? 'voter' : 'learner';
  const { retention, vacuum } = node;
  const lines: ToneLine[] = [
    [title, piece(` (${node.address}), ${role}, epoch ${node.epoch}`)],
    fact('log', `${node.logStart} to ${node.scl}, committed to ${node.commit}`),
    fact('epochs', node.history.map(({ epoch, startLsn }) => `${epoch} from ${startLsn}`).join(', ')),
    fact('pages', `applied to ${node.applied}, any LSN from ${node.gcLsn} on`),
    fact(
      'room',
      `log ${shortBytes(node.logBytes)}, pages ${shortBytes(node.pagesBytes)}, free ${shortBytes(node.freeBytes)}`,
    ),
  ];
  if (retention)
    lines.push(
      fact('retention', `${shortAge(retention.timeMs)}, at most ${shortBytes(retention.bytes)} of log`),
    );
  if (vacuum)
    lines.push(
      fact(
        'vacuum',
        `${vacuum.state}, ${vacuum.passes} passes${vacuum.lastError ? `; ${vacuum.lastError}` : ''}`,
      ),
    );
  for (const { begin, end, file } of node.damaged)
    lines.push([piece(`  damaged   [${begin}, ${end}) in ${file}`, 'bad')]);
  if (node.leases.length > 0) lines.push(...indented(tableLines(LEASES.slice(1), node.leases, width - 2)));
  if (node.logFiles) lines.push(...fileLines(node.logFiles, node.scl, width));
  return lines;
}

function fileLines(
  files: NonNullable<VolumeNodeReport['logFiles']>,
  scl: string | null,
  width: number,
): ToneLine[] {
  const rows = files.map((file, i) => ({ ...file, endLsn: files[i + 1]?.startLsn ?? scl ?? '-' }));
  const shown = rows.slice(-FILES_SHOWN);
  const lines = tableLines(
    [
      { title: 'log file', cell: ({ file }) => file },
      { title: 'from', cell: ({ startLsn }) => startLsn },
      { title: 'to', cell: ({ endLsn }) => endLsn },
      { title: 'size', align: 'right', cell: ({ bytes }) => shortBytes(bytes) },
    ],
    shown,
    width - 2,
  );
  const older = rows.length - shown.length;
  return [
    ...indented(lines),
    ...(older > 0 ? [[piece(`  and ${older} older ones (--json shows all)`, 'faint')]] : []),
  ];
}

function fact(name: string, text: string): ToneLine {
  return [piece(`  ${name.padEnd(10)}`, 'faint'), piece(text)];
}

function indented(lines: readonly ToneLine[]): ToneLine[] {
  return lines.map((line) => [piece('  '), ...line]);
}
