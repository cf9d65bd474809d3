/** What changed in a page between two LSNs: header, items, bytes, and the versions in between. */
import type { DecodedPage, ItemJson } from './page-decode.js';
import type { PageReport } from './page-report.js';
import { paintLines, piece, type ToneLine } from './tone.js';

export interface FieldChange {
  field: string;
  from: string;
  to: string;
}

export interface ItemChange {
  offnum: number;
  change: 'added' | 'removed' | 'changed';
  /** Of an item that is there on both sides: what differs. */
  fields: FieldChange[];
}

export interface PageDiff {
  relation: PageReport['relation'];
  fork: string;
  block: number;
  from: string;
  to: string;
  header: FieldChange[];
  /** Of an index page: what its special area, entries and the like say. */
  contents: FieldChange[];
  items: ItemChange[];
  /** After `from`, up to `to`, oldest first. */
  versions: PageReport['versions'];
}

/** `after` has the version chain; `between`: those of it that `before` does not have. */
export function diffPages(before: PageReport, after: PageReport): PageDiff {
  const known = new Set(before.versions.map(({ lsn }) => lsn));
  return {
    relation: after.relation,
    fork: after.fork,
    block: after.block,
    from: before.lsn,
    to: after.lsn,
    header: changes(before.page.header, after.page.header),
    contents: changes(contentsOf(before.page), contentsOf(after.page)),
    items: itemChanges(before.page.items, after.page.items),
    versions: after.versions.filter(({ lsn }) => !known.has(lsn)).reverse(),
  };
}

export function diffText(diff: PageDiff): string {
  const { relation, fork, block, from, to, header, contents, items, versions } = diff;
  const name = relation.name ?? `${relation.spcOid}/${relation.dbOid}/${relation.relNumber}`;
  const lines: ToneLine[] = [
    [piece(`relation ${name}, fork ${fork}, block ${block}`, 'strong')],
    [piece(`changes from LSN ${from} to ${to}`)],
  ];
  if (header.length > 0) lines.push([], [piece('header', 'strong')], ...header.map(fieldLine));
  if (contents.length > 0) lines.push([], [piece('contents', 'strong')], ...contents.map(fieldLine));
  if (items.length > 0) lines.push([], [piece('items', 'strong')], ...items.flatMap(itemLines));
  if (header.length + contents.length + items.length === 0) lines.push([], [piece('the page is the same')]);
  if (versions.length > 0)
    lines.push([], [piece('versions in between', 'strong')], ...versions.map(({ lsn, kind, bytes, record }): ToneLine => [piece(`  ${lsn.padEnd(18)} ${kind.padEnd(10)} ${String(bytes).padStart(6)} bytes  ${record ?? ''}`)])); // prettier-ignore
  return paintLines(lines);
}

function fieldLine({ field, from, to }: FieldChange, indent: unknown): ToneLine {
  const margin = typeof indent === 'string' ? indent : '  ';
  return [
    piece(`${margin}${field}: `),
    piece(`- ${short(from)}`, 'bad'),
    piece('  '),
    piece(`+ ${short(to)}`, 'good'),
  ];
}

function itemLines({ offnum, change, fields }: ItemChange): ToneLine[] {
  if (change === 'added') return [[piece(`  + ${offnum}: ${summary(fields, 'to')}`, 'good')]];
  if (change === 'removed') return [[piece(`  - ${offnum}: ${summary(fields, 'from')}`, 'bad')]];
  return [[piece(`  ~ ${offnum}`, 'doubtful')], ...fields.map((field) => fieldLine(field, '      '))];
}

function summary(fields: readonly FieldChange[], side: 'from' | 'to'): string {
  const text = fields.map((field) => `${field.field} ${short(field[side])}`).join('  ');
  return text.length <= 72 ? text : `${text.slice(0, 69)}...`;
}

function short(text: string): string {
  return text.length <= 30 ? text : `${text.slice(0, 27)}...`;
}

/** All of a decoded page but its header and items. */
function contentsOf({ header: _header, items: _items, ...rest }: DecodedPage): object {
  return rest;
}

function itemChanges(before: readonly ItemJson[], after: readonly ItemJson[]): ItemChange[] {
  const was = new Map(before.map((item) => [item.offnum, item]));
  const is = new Map(after.map((item) => [item.offnum, item]));
  const offnums = [...new Set([...was.keys(), ...is.keys()])].sort((a, b) => a - b);
  return offnums.flatMap((offnum): ItemChange[] => {
    const fields = changes(was.get(offnum) ?? {}, is.get(offnum) ?? {});
    if (fields.length === 0) return [];
    const change = !was.has(offnum) ? 'added' : !is.has(offnum) ? 'removed' : 'changed';
    return [{ offnum, change, fields: fields.filter(({ field }) => field !== 'offnum') }];
  });
}

/** Leaves that differ, by their path: `tuple.xmax`. What is on one side only is `-` on the other. */
function changes(before: object, after: object): FieldChange[] {
  const was = leaves(before, '', new Map());
  const is = leaves(after, '', new Map());
  return [...new Set([...was.keys(), ...is.keys()])].flatMap((field) => {
    const [from, to] = [was.get(field) ?? '-', is.get(field) ?? '-'];
    return from === to ? [] : [{ field, from, to }];
  });
}

function leaves(value: unknown, at: string, into: Map<string, string>): Map<string, string> {
  if (value === null || value === undefined) return into;
  if (typeof value !== 'object' || (Array.isArray(value) && value.every((item) => typeof item !== 'object')))
    return into.set(at, Array.isArray(value) ? value.join(' ') : String(value));
  // Columns by their names, so that a change of one does not shift the others.
  for (const [key, item] of Object.entries(value)) {
    const name = Array.isArray(value) ? ((item as { name?: string }).name ?? key) : key;
    leaves(item, at === '' ? name : `${at}.${name}`, into);
  }
  return into;
}
