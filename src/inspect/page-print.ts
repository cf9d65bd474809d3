/** A decoded page in lines of at most 80 columns. */
import type { BtreeJson, DecodedPage, ItemJson } from './page-decode.js';
import type { FactJson, IndexPageJson } from './page-index.js';
import type { PageReport } from './page-report.js';

const WIDTH = 80;
/** Runs of the visibility map and heap tids of a posting list shown; --json has all. */
const RUNS_SHOWN = 40;
const TIDS_SHOWN = 6;

export function formatPage(report: PageReport): string {
  const { page } = report;
  const out = [...title(report), '', ...headerLines(page)];
  if (page.problem) out.push(`PROBLEM: ${page.problem}`);
  if (page.btree) out.push('', ...btreeLines(page.btree));
  if (page.index) out.push('', ...otherIndexLines(page.type, page.index));
  if (page.sequence) {
    const { lastValue, logCount, isCalled } = page.sequence;
    out.push('', `sequence  last_value ${lastValue}  log_cnt ${logCount}  is_called ${isCalled}`);
  }
  if (page.visibility) out.push('', ...visibilityLines(page.visibility));
  if (page.items.length > 0) out.push('', ...itemLines(page));
  out.push('', ...versionLines(report));
  return out.map(fit).join('\n');
}

function title({ relation, fork, block, blocks, lsn, page }: PageReport): string[] {
  const { spcOid, dbOid, relNumber, name } = relation;
  const numbers = `${spcOid}/${dbOid}/${relNumber}`;
  return [
    ...fold(`relation ${name === null ? numbers : `${name} (${numbers})`}`, ''),
    `fork ${fork}  block ${block} of ${blocks}  as of LSN ${lsn}  (${page.type} page)`,
  ];
}

function headerLines({ header: h, type }: DecodedPage): string[] {
  if (type === 'new') return ['all zeros: never initialised'];
  return [
    `header  lsn ${h.lsn}  checksum ${h.checksum}  flags ${h.flags.join(' ') || '-'}`,
    `        lower ${h.lower}  upper ${h.upper}  special ${h.special}  free ${h.freeBytes} bytes`,
    `        page size ${h.pageSize}  version ${h.version}  prune xid ${h.pruneXid}`,
  ];
}

function btreeLines(b: BtreeJson): string[] {
  const neighbour = (blkno: number): string => (blkno === 0 ? '-' : String(blkno));
  const lines = fold(
    `btree  level ${b.level}  left ${neighbour(b.prev)}  right ${neighbour(b.next)}  flags ${b.flags.join(' ') || '-'}  cycle ${b.cycleId}`,
    '',
  );
  if (b.safeXid !== null) lines.push(`       reusable after transaction ${b.safeXid}`);
  if (b.meta) {
    const { root, level, fastRoot, fastLevel, version, allEqualImage } = b.meta;
    lines.push(
      `meta   version ${version}  root ${root} (level ${level})  fast root ${fastRoot} (level ${fastLevel})`,
    );
    lines.push(`       deduplication ${allEqualImage ? 'safe' : 'unsafe'}`);
  }
  return lines;
}

/** `hash  kind bucket  bucket 3 ...`, then a paragraph for each entry. */
function otherIndexLines(type: string, { facts, entries }: IndexPageJson): string[] {
  const lines = fold(`${type}  ${factText(facts)}`, '');
  if (entries.length > 0) lines.push('', `entries: ${entries.length}`);
  for (const entry of entries) lines.push(...fold(factText(entry)));
  return lines;
}

/** What is absent, false or empty is left out: --json has all. */
function factText(facts: Readonly<Record<string, FactJson>>): string {
  return Object.entries(facts)
    .filter(([, value]) => value !== null && value !== false && value !== '')
    .map(([name, value]) => `${name.replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`)} ${valueText(value)}`)
    .join('  ');
}

function valueText(value: FactJson): string {
  if (Array.isArray(value)) {
    const shown = value.slice(0, TIDS_SHOWN).map(valueText).join(' ');
    return `${shown || '-'}${value.length > TIDS_SHOWN ? ` ... (${value.length})` : ''}`;
  }
  if (typeof value === 'object' && value !== null) return `{${factText(value)}}`;
  return typeof value === 'string' && /^[0-9a-f]{33,}$/.test(value) ? shortHex(value) : String(value);
}

function visibilityLines(runs: NonNullable<DecodedPage['visibility']>): string[] {
  if (runs.length === 0) return ['no heap block is marked all-visible'];
  const lines = runs.slice(0, RUNS_SHOWN).map(({ first, last, allVisible, allFrozen }) => {
    const bits = [...(allVisible ? ['all-visible'] : []), ...(allFrozen ? ['all-frozen'] : [])];
    const blocks = first === last ? `heap block ${first}` : `heap blocks ${first} to ${last}`;
    return `${blocks}: ${bits.join(', ')}`;
  });
  if (runs.length > RUNS_SHOWN)
    lines.push(`... and ${runs.length - RUNS_SHOWN} more runs (--json shows all)`);
  return lines;
}

function itemLines({ items, type, btree }: DecodedPage): string[] {
  const counts = new Map<string, number>();
  for (const { state } of items) counts.set(state, (counts.get(state) ?? 0) + 1);
  const summary = [...counts].map(([state, n]) => `${n} ${state}`).join(', ');
  const head =
    type === 'btree' ? '  lp  off  len  item' : '  lp state     off  len       xmin       xmax  cid  ctid';
  const lines = items.flatMap((item) =>
    type === 'btree' ? indexLines(item, item.offnum === btree?.highKey) : heapLines(item),
  );
  return [`line pointers: ${items.length} (${summary})`, head, ...lines];
}

function heapLines(item: ItemJson): string[] {
  const { offnum, state, off, len, tuple, problem } = item;
  const place = `${pad(offnum, 4)} ${state.padEnd(8)}`;
  if (state === 'redirect') return [`${place} -> ${off}`];
  const where = `${place} ${pad(off, 4)} ${pad(len, 4)}`;
  if (!tuple) return problem ? [where, ...fold(`PROBLEM: ${problem}`)] : [where];
  const { xmin, xmax, cid, ctid, natts, hoff, flags, nulls, columns, data } = tuple;
  const lines = [`${where} ${pad(xmin, 10)} ${pad(xmax, 10)} ${pad(cid, 4)}  ${ctid}`];
  lines.push(...fold(`${natts} attributes, data at ${hoff}: ${flags.join(' ') || 'no flags'}`));
  if (nulls) lines.push(...fold(`present: ${nulls}`));
  if (!columns) return [...lines, ...hexLines(data)];
  for (const { name, type, raw, value } of columns)
    lines.push(
      fit(
        `     ${name} ${type}: ${raw === null ? 'NULL' : value === null ? shortHex(raw) : `${value}  [${shortHex(raw)}]`}`,
      ),
    );
  return lines;
}

function indexLines(item: ItemJson, isHighKey: boolean): string[] {
  const { offnum, off, len, state, index } = item;
  const place = `${pad(offnum, 4)} ${pad(off, 4)} ${pad(len, 4)}  `;
  if (!index) return [`${place}${state}`];
  const { kind, tids, downlink, attributes, key, dead } = index;
  const words: string[] = [];
  if (isHighKey) words.push('high key');
  if (dead) words.push('dead');
  if (kind === 'pivot') {
    if (!isHighKey) words.push(`-> block ${downlink}`);
    words.push(`${attributes} key attributes`);
    if (tids.length > 0) words.push(`heap tid ${tids[0]}`);
  } else if (kind === 'plain') words.push(tids[0]!);
  else {
    const more = tids.length > TIDS_SHOWN ? ' ...' : '';
    words.push(`posting list of ${tids.length}: ${tids.slice(0, TIDS_SHOWN).join(' ')}${more}`);
  }
  return [fit(`${place}${words.join(', ')}`), ...hexLines(key)];
}

function versionLines({ versions, lsn, versionsProblem }: PageReport): string[] {
  if (versionsProblem !== null) return fold(`version chain: ${versionsProblem}`, '');
  if (versions.length === 0) return ['version chain: none stored'];
  const lines = versions.map((v) =>
    `  ${v.lsn.padEnd(18)} ${v.kind.padEnd(10)} ${pad(v.bytes, 6)} bytes  ${v.record ?? ''}`.trimEnd(),
  );
  return [`versions as of ${lsn}, newest first; the page is built from the last one up`, ...lines];
}

function pad(value: number | string, width: number): string {
  return String(value).padStart(width);
}

function fit(line: string): string {
  return line.length <= WIDTH ? line : `${line.slice(0, WIDTH - 3)}...`;
}

/** Breaks at blanks. */
function fold(text: string, indent = '     '): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(' ')) {
    if (line.length > indent.length && line.length + word.length > WIDTH) {
      lines.push(line.trimEnd());
      line = `${indent}  `;
    }
    line += `${word} `;
  }
  return [...lines, line.trimEnd()];
}

/** Groups of four bytes, 32 bytes a line. */
function hexLines(hex: string): string[] {
  const lines: string[] = [];
  for (let at = 0; at < hex.length; at += 64)
    lines.push(`     ${hex.slice(at, at + 64).replace(/.{8}(?=.)/g, '$& ')}`);
  return lines;
}

function shortHex(hex: string): string {
  return hex.length <= 32 ? hex : `${hex.slice(0, 32)}... ${hex.length / 2} bytes`;
}
