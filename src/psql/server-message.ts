/** Errors and notices of the server in libpq's words, with the place in the query marked. */
import { charWidth } from './print/width.js';
import type { Settings } from './settings.js';

/** Fields of an ErrorResponse or NoticeResponse. */
export interface ServerMessage {
  severity?: string | undefined;
  code?: string | undefined;
  message?: string | undefined;
  detail?: string | undefined;
  hint?: string | undefined;
  /** 1-based, in characters. */
  position?: string | undefined;
  internalPosition?: string | undefined;
  internalQuery?: string | undefined;
  where?: string | undefined;
  schema?: string | undefined;
  table?: string | undefined;
  column?: string | undefined;
  dataType?: string | undefined;
  constraint?: string | undefined;
  file?: string | undefined;
  line?: string | undefined;
  routine?: string | undefined;
}

/** The message's text without a final newline. `query` = what was sent, null for notices outside of one. */
export function formatServerMessage(
  fields: ServerMessage,
  query: string | null,
  isError: boolean,
  { verbosity, showContext }: Pick<Settings, 'verbosity' | 'showContext'>,
): string {
  let text = fields.severity ? `${fields.severity}:  ` : '';
  if (verbosity === 'sqlstate' && fields.code) return text + fields.code;
  const terse = verbosity === 'terse' || verbosity === 'sqlstate';
  const verbose = verbosity === 'verbose';
  if (verbose && fields.code) text += `${fields.code}: `;
  text += fields.message ?? '';
  const position = fields.position ?? fields.internalPosition;
  const source = fields.position !== undefined ? query : (fields.internalQuery ?? null);
  if (position !== undefined && (terse || source === null)) text += ` at character ${position}`;
  if (terse) return text;
  const lines = [text];
  if (position !== undefined && source !== null) lines.push(...errorPosition(source, Number(position)));
  if (fields.detail) lines.push(`DETAIL:  ${fields.detail}`);
  if (fields.hint) lines.push(`HINT:  ${fields.hint}`);
  if (fields.internalQuery) lines.push(`QUERY:  ${fields.internalQuery}`);
  if (fields.where && (showContext === 'always' || (showContext === 'errors' && isError)))
    lines.push(`CONTEXT:  ${fields.where}`);
  if (verbose) {
    if (fields.schema) lines.push(`SCHEMA NAME:  ${fields.schema}`);
    if (fields.table) lines.push(`TABLE NAME:  ${fields.table}`);
    if (fields.column) lines.push(`COLUMN NAME:  ${fields.column}`);
    if (fields.dataType) lines.push(`DATATYPE NAME:  ${fields.dataType}`);
    if (fields.constraint) lines.push(`CONSTRAINT NAME:  ${fields.constraint}`);
    if (fields.routine || fields.file)
      lines.push(`LOCATION:  ${fields.routine ? `${fields.routine}, ` : ''}${fields.file ? `${fields.file}:${fields.line}` : ''}`); // prettier-ignore
  }
  return lines.join('\n');
}

/** Columns of a query line shown at most, and columns kept right of the mark. */
const DISPLAY_COLUMNS = 60;
const RIGHT_MARGIN = 10;

/** "LINE n: ..." and the caret below it; nothing when the position is outside of the query. */
function errorPosition(query: string, position: number): string[] {
  const loc = position - 1;
  const chars = [...query];
  if (loc < 0 || loc > chars.length) return [];
  const columns: number[] = []; // screen column of each character, and of the end
  let lineNo = 1;
  let begin = 0;
  let end = -1;
  let column = 0;
  for (let i = 0; i < chars.length && end < 0; i++) {
    columns[i] = column;
    const char = chars[i]!;
    if (char === '\r' || char === '\n') {
      if (i >= loc) {
        end = i;
        break;
      }
      if (char === '\r' || chars[i - 1] !== '\r') lineNo++;
      begin = i + 1;
    }
    column += Math.max(1, charWidth(char));
  }
  if (end < 0) {
    end = chars.length;
    columns[end] = column;
  }
  let cutLeft = false;
  let cutRight = false;
  const at = (i: number): number => columns[i]!;
  if (at(end) - at(begin) > DISPLAY_COLUMNS) {
    if (at(begin) + DISPLAY_COLUMNS >= at(loc) + RIGHT_MARGIN) {
      while (at(end) - at(begin) > DISPLAY_COLUMNS) end--;
      cutRight = true;
    } else {
      while (at(loc) + RIGHT_MARGIN < at(end)) {
        end--;
        cutRight = true;
      }
      while (at(end) - at(begin) > DISPLAY_COLUMNS) {
        begin++;
        cutLeft = true;
      }
    }
  }
  const prefix = `LINE ${lineNo}: ${cutLeft ? '...' : ''}`;
  const shown = chars.slice(begin, end).join('').replaceAll('\t', ' ');
  return [`${prefix}${shown}${cutRight ? '...' : ''}`, `${' '.repeat(prefix.length + at(loc) - at(begin))}^`];
}
