/** What psql's special variables control, and how their values are read. */

export interface Settings {
  autocommit: boolean;
  onErrorStop: boolean;
  quiet: boolean;
  singleLine: boolean;
  singleStep: boolean;
  fetchCount: number;
  histSize: number;
  ignoreEof: number;
  watchIntervalSeconds: number;
  echo: 'none' | 'errors' | 'queries' | 'all';
  echoHidden: 'off' | 'on' | 'noexec';
  onErrorRollback: 'off' | 'on' | 'interactive';
  keywordCase: 'preserve-upper' | 'preserve-lower' | 'upper' | 'lower';
  histControl: 'none' | 'ignorespace' | 'ignoredups' | 'ignoreboth';
  verbosity: 'default' | 'verbose' | 'terse' | 'sqlstate';
  showContext: 'never' | 'errors' | 'always';
  showAllResults: boolean;
  hideCompression: boolean;
  hideTableAm: boolean;
}

export function defaultSettings(): Settings {
  return {
    autocommit: false,
    onErrorStop: false,
    quiet: false,
    singleLine: false,
    singleStep: false,
    fetchCount: 0,
    histSize: 500,
    ignoreEof: 0,
    watchIntervalSeconds: 2,
    echo: 'none',
    echoHidden: 'off',
    onErrorRollback: 'off',
    keywordCase: 'preserve-upper',
    histControl: 'none',
    verbosity: 'default',
    showContext: 'errors',
    showAllResults: false,
    hideCompression: false,
    hideTableAm: false,
  };
}

/** A word for yes or no, abbreviations included; null when it is neither. */
export function parseBoolean(value: string): boolean | null {
  const text = value.toLowerCase();
  if (text !== '' && ('true'.startsWith(text) || 'yes'.startsWith(text))) return true;
  if (text !== '' && ('false'.startsWith(text) || 'no'.startsWith(text))) return false;
  if (text === 'on' || text === '1') return true;
  if (text === 'of' || text === 'off' || text === '0') return false;
  return null;
}

/** An integer as strtol(…, 0) reads it: decimal, 0x hexadecimal, 0 octal; null when it is none. */
export function parseInteger(value: string): number | null {
  const text = value.trim();
  if (/^[+-]?0x[0-9a-f]+$/i.test(text))
    return Number(text.replace(/^[+-]/, '')) * (text.startsWith('-') ? -1 : 1);
  if (/^[+-]?0[0-7]+$/.test(text)) return parseInt(text, 8);
  return /^[+-]?\d+$/.test(text) ? Number(text) : null;
}
