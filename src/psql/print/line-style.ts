import type { PrintOptions, UnicodeLine } from './types.js';

export interface Rule {
  horizontal: string;
  left: string;
  middle: string;
  right: string;
}

/** The characters that borders, rules and continuation marks are drawn with. */
export interface LineFormat {
  name: string;
  top: Rule;
  header: Rule;
  bottom: Rule;
  data: Rule;
  /** Column divider before a continued, wrapped, or absent line of the next column. */
  middleNewline: string;
  middleWrap: string;
  middleBlank: string;
  headerNewlineLeft: string;
  headerNewlineRight: string;
  newlineLeft: string;
  newlineRight: string;
  wrapLeft: string;
  wrapRight: string;
  /** Whether the mark sits right of a cell also without borders. */
  wrapRightBorder: boolean;
}

const asciiRule: Rule = { horizontal: '-', left: '+', middle: '+', right: '+' };
const asciiData: Rule = { horizontal: '', left: '|', middle: '|', right: '|' };
const asciiRules = { top: asciiRule, header: asciiRule, bottom: asciiRule, data: asciiData };

const ascii: LineFormat = {
  name: 'ascii',
  ...asciiRules,
  middleNewline: '|',
  middleWrap: '|',
  middleBlank: '|',
  headerNewlineLeft: ' ',
  headerNewlineRight: '+',
  newlineLeft: ' ',
  newlineRight: '+',
  wrapLeft: '.',
  wrapRight: '.',
  wrapRightBorder: true,
};

const oldAscii: LineFormat = {
  name: 'old-ascii',
  ...asciiRules,
  middleNewline: ':',
  middleWrap: ';',
  middleBlank: ' ',
  headerNewlineLeft: '+',
  headerNewlineRight: ' ',
  newlineLeft: ' ',
  newlineRight: ' ',
  wrapLeft: ' ',
  wrapRight: ' ',
  wrapRightBorder: false,
};

type Weight = Record<UnicodeLine, string>;
type Crossing = Record<UnicodeLine, Weight>;
const weight = (single: string, double: string): Weight => ({ single, double });

/* Tees and crosses by the weight of the line they belong to, then of the line they meet. */
const headerLeft: Crossing = { single: weight('├', '╟'), double: weight('╞', '╠') };
const headerRight: Crossing = { single: weight('┤', '╢'), double: weight('╡', '╣') };
const cross: Crossing = { single: weight('┼', '╪'), double: weight('╫', '╬') };
const teeUp: Crossing = { single: weight('┴', '╧'), double: weight('╨', '╩') };
const teeDown: Crossing = { single: weight('┬', '╤'), double: weight('╥', '╦') };
const horizontal = weight('─', '═');
const vertical = weight('│', '║');

function unicode(options: PrintOptions): LineFormat {
  const { unicodeBorder: border, unicodeColumn: column, unicodeHeader: header } = options;
  return {
    name: 'unicode',
    top: {
      horizontal: horizontal[border],
      left: weight('┌', '╔')[border],
      middle: teeDown[column][border],
      right: weight('┐', '╗')[border],
    },
    header: {
      horizontal: horizontal[header],
      left: headerLeft[header][border],
      middle: cross[column][header],
      right: headerRight[header][border],
    },
    bottom: {
      horizontal: horizontal[border],
      left: weight('└', '╚')[border],
      middle: teeUp[column][border],
      right: weight('┘', '╝')[border],
    },
    data: { horizontal: '', left: vertical[border], middle: vertical[column], right: vertical[border] },
    middleNewline: vertical[column],
    middleWrap: vertical[column],
    middleBlank: vertical[column],
    headerNewlineLeft: ' ',
    headerNewlineRight: '↵',
    newlineLeft: ' ',
    newlineRight: '↵',
    wrapLeft: '…',
    wrapRight: '…',
    wrapRightBorder: true,
  };
}

export function lineFormat(options: PrintOptions): LineFormat {
  if (options.lineStyle === 'unicode') return unicode(options);
  return options.lineStyle === 'ascii' ? ascii : oldAscii;
}
