/** `aurora inspect relation` as text. */
import type { RelationNodeReport, RelationReport } from './relation-report.js';
import { tableLines } from './table.js';
import { paintLines, piece, type ToneLine } from './tone.js';
import { shortBytes } from './units.js';

export function relationText({ relation, lsn, nodes }: RelationReport, width: number): string {
  const { name, spcOid, dbOid, relNumber } = relation;
  const numbers = `${spcOid}/${dbOid}/${relNumber}`;
  const told = nodes.filter(({ problem }) => problem === null);
  const forks = told[0]?.forks ?? [];
  return paintLines([
    [
      piece(`relation ${name === null ? numbers : `${name} (${numbers})`}`, 'strong'),
      piece(` as of LSN ${lsn}`),
    ],
    [],
    ...tableLines(
      [
        { title: 'fork', cell: ({ fork }) => fork },
        { title: 'blocks', align: 'right', cell: ({ blocks }) => String(blocks) },
        { title: 'size', align: 'right', cell: ({ bytes }) => shortBytes(bytes) },
      ],
      forks,
      width,
    ),
    [],
    ...tableLines<RelationNodeReport>(
      [
        { title: 'node', cell: ({ id }) => id },
        { title: 'pages', align: 'right', cell: ({ pages }) => String(pages) },
        { title: 'stored', rank: 3, align: 'right', cell: ({ storedPages }) => String(storedPages) },
        { title: 'images', align: 'right', cell: ({ images }) => String(images) },
        { title: 'changes', align: 'right', cell: ({ deltas }) => String(deltas) },
        { title: 'bytes', align: 'right', cell: ({ bytes }) => shortBytes(bytes) },
        {
          title: 'most versions',
          rank: 2,
          cell: ({ longest }) =>
            longest ? `${longest.versions} of ${longest.fork} block ${longest.block}` : '-',
        },
      ],
      told,
      width,
    ),
    ...nodes.flatMap(({ id, problem }): ToneLine[] =>
      problem === null ? [] : [[piece(`node ${id} does not answer: ${problem}`, 'bad')]],
    ),
  ]);
}
