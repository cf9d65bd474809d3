/** Sizes, rates and times in few characters. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** `0 B`, `9.5 kB`, `128 MB`: units of 1024, as pg_size_pretty() names them. "-" when unknown. */
export function shortBytes(bytes: number | null): string {
  if (bytes === null) return '-';
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : digits(value)} ${UNITS[unit]}`;
}

/** `0`, `7.3`, `1402`, `31k`, `2.1M`. */
export function shortCount(value: number | null): string {
  if (value === null) return '-';
  if (value >= 9_999_500) return `${Math.round(value / 1e6)}M`;
  if (value >= 999_500) return `${(value / 1e6).toFixed(1)}M`;
  if (value >= 9999.5) return `${Math.round(value / 1000)}k`;
  return value === 0 ? '0' : digits(value);
}

/** Milliseconds: `0.42`, `12.3`, `350`. */
export function shortMs(ms: number | null): string {
  if (ms === null) return '-';
  return ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : String(Math.round(ms));
}

export function percent(share: number | null): string {
  if (share === null) return '-';
  const value = share * 100;
  return `${value > 0 && value < 99.95 && value !== Math.round(value) ? value.toFixed(1) : Math.round(value)}%`;
}

/** `3.4 s`, `12 min`, `5 h`. */
export function shortAge(ms: number | null): string {
  if (ms === null) return 'never';
  const s = ms / 1000;
  if (s < 100) return `${s.toFixed(1)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

function digits(value: number): string {
  return Math.abs(value) < 9.95 ? value.toFixed(1) : String(Math.round(value));
}
