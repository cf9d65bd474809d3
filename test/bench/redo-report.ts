/** The tables of bench:redo, in Markdown for docs/PERFORMANCE.md. */
import os from 'node:os';
import Table from 'cli-table3';
import type { ChainsResult, DecodeResult, IngestResult } from './redo-engine.js';
import type { PostgresReplay } from './redo-postgres.js';

export interface WorkloadFigures {
  name: string;
  walBytes: number;
  decode: DecodeResult;
  ingest: IngestResult;
  chains: ChainsResult;
  postgres: PostgresReplay;
  /** Of PostgreSQL's rate; more is better. */
  ingestRatio: number;
  materialisedRatio: number;
}

export const GOAL_RATIO = 0.3;
export const GOAL_CHAIN = { deltas: 10, p50Us: 150 };

const MARKDOWN = { top: '', 'top-mid': '', 'top-left': '', 'top-right': '', bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': '', left: '|', 'left-mid': '', mid: '', 'mid-mid': '', right: '|', 'right-mid': '', middle: '|' }; // prettier-ignore

function table(head: string[], rows: string[][]): string {
  const out = new Table({ head, chars: MARKDOWN, style: { head: [], border: [] } });
  out.push(
    head.map((_, i) => (i === 0 ? '---' : '---:')),
    ...rows,
  );
  return out.toString();
}

/** From the first record until each page of the end state has been made. */
export function materialisedSeconds(ingest: IngestResult): number {
  return ingest.seconds + ingest.drainSeconds + ingest.readSeconds;
}

export function workloadTable(figures: WorkloadFigures): string {
  const { walBytes, decode, ingest, postgres } = figures;
  const { records } = decode;
  const row = (what: string, seconds: number, cpu: number | null): string[] => [
    what,
    seconds.toFixed(2),
    cpu === null ? '-' : cpu.toFixed(2),
    (records / seconds / 1000).toFixed(0),
    (walBytes / seconds / 1e6).toFixed(1),
    (postgres.seconds / seconds).toFixed(2),
  ];
  const head = ['', 'elapsed s', 'CPU s', '1000 records/s', 'MB/s of WAL', 'of PostgreSQL'];
  return [
    `${figures.name}: ${records} records, ${(walBytes / 1e6).toFixed(0)} MB of WAL`,
    '',
    table(head, [
      row("PostgreSQL's recovery", postgres.seconds, postgres.userSeconds + postgres.systemSeconds),
      row('Decode only', decode.seconds, null),
      row('Ingest into RocksDB', ingest.seconds, ingest.cpuSeconds),
      row('Ingest, and the images put off until then', ingest.seconds + ingest.drainSeconds, null),
      row('Full materialisation: these, and every page read', materialisedSeconds(ingest), null),
    ]),
    '',
    ...(ingest.threadSeconds === null
      ? []
      : [
          `The ingesting thread alone used ${ingest.threadSeconds.toFixed(2)} s of processor time: by that measure, ` +
            `which other load disturbs less, ingest runs at ${((postgres.userSeconds + postgres.systemSeconds) / ingest.threadSeconds).toFixed(2)} of PostgreSQL's replay.`,
        ]),
    `Every page of the end state: ${ingest.pages} pages in ${ingest.readSeconds.toFixed(2)} s. ` +
      `Images put off until ingest had nothing to do: ${ingest.drainSeconds.toFixed(2)} s. ` +
      `Ingest that never coalesces, without decoding: ${figures.chains.lazyIngestSeconds.toFixed(2)} s. ` +
      `Images made in all: ${ingest.stats.imagesCoalesced} for ${ingest.stats.versionsWritten} versions.`,
  ].join('\n');
}

export function chainTable(all: readonly WorkloadFigures[]): string {
  const head = ['getPage on WAL of', 'deltas', 'samples', 'p50 us', 'p99 us'];
  return table(
    head,
    all.flatMap(({ name, chains }) =>
      chains.chains.map(({ deltas, samples, p50Us, p99Us }) => [
        name.split(',')[0]!,
        String(deltas),
        String(samples),
        samples === 0 ? '-' : p50Us.toFixed(0),
        samples === 0 ? '-' : p99Us.toFixed(0),
      ]),
    ),
  );
}

export function goals(all: readonly WorkloadFigures[]): [goal: string, met: boolean][] {
  return all.flatMap(({ name, ingestRatio, chains }) => {
    const chain = chains.chains.find(({ deltas }) => deltas === GOAL_CHAIN.deltas);
    return [
      [
        `${name}: ingest at least ${GOAL_RATIO}x of PostgreSQL's replay (${ingestRatio.toFixed(2)})`,
        ingestRatio >= GOAL_RATIO,
      ],
      ...(chain && chain.samples > 0
        ? [
            [
              `${name}: a page of ${GOAL_CHAIN.deltas} deltas under ${GOAL_CHAIN.p50Us} us (${chain.p50Us.toFixed(0)})`,
              chain.p50Us < GOAL_CHAIN.p50Us,
            ] as [string, boolean],
          ]
        : []),
    ] as [string, boolean][];
  });
}

export function machine(): string {
  const cpu = os.cpus()[0]?.model ?? 'unknown';
  return `${os.cpus().length} x ${cpu}, ${Math.round(os.totalmem() / 2 ** 30)} GiB, Linux ${os.release()}, Node ${process.version}`;
}
