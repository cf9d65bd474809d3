/** Reads Prometheus' text format, strictly, and checks names by its conventions (as `promtool check metrics` does). */

import http from 'node:http';
import { controlSocketPath } from '../../src/compute/control-path.js';

/** /metrics of a compute of a local cluster. */
export function metricsOfCompute(socketDir: string, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ socketPath: controlSocketPath(socketDir, name), path: '/metrics' }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => resolve(Buffer.concat(parts).toString()));
      })
      .on('error', reject);
  });
}

/** The value of a metric without labels; NaN when there is none of that name. */
export function metric(text: string, name: string): number {
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1] ?? NaN);
}

const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?)*\})? (-?[0-9.eE+-]+|NaN|[+-]Inf)$/;
/** Units that are not base units, at the end of a name or before _total. */
const NOT_BASE =
  /_(ms|milliseconds|micros|microseconds|minutes|hours|kb|kib|mb|mib|kilobytes|megabytes|percent)(_total)?$/;

/** What is wrong with a page of metrics, one text each; empty when nothing is. */
export function lintMetrics(text: string): string[] {
  const problems: string[] = [];
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const sampled = new Set<string>();
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const meta = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (meta) {
      const [, kind, name, rest] = meta as unknown as [string, string, string, string];
      if (kind === 'HELP') helps.add(name);
      else if (types.has(name)) problems.push(`${name}: two TYPE lines`);
      else types.set(name, rest);
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (!sample) {
      problems.push(`not a sample: ${line}`);
      continue;
    }
    const name = familyOf(sample[1]!, types);
    if (!types.has(name)) problems.push(`${name}: a sample before its TYPE`);
    if (sampled.has(line.slice(0, line.lastIndexOf(' ')))) problems.push(`${line}: twice`);
    sampled.add(line.slice(0, line.lastIndexOf(' ')));
  }
  for (const [name, type] of types) {
    if (!helps.has(name)) problems.push(`${name}: no HELP`);
    // The runtime's own are as its library names them.
    if (!name.startsWith('aurora_')) {
      if (!/^(nodejs|process)_/.test(name)) problems.push(`${name}: not of this program`);
      continue;
    }
    if (!/^aurora_(storage|compute|gossip|vacuum|disk)_[a-z0-9_]+$/.test(name))
      problems.push(`${name}: an odd name`);
    if (!['counter', 'gauge', 'histogram', 'summary'].includes(type)) problems.push(`${name}: type ${type}`);
    if ((type === 'counter') !== name.endsWith('_total')) problems.push(`${name}: a ${type}`);
    if (NOT_BASE.test(name)) problems.push(`${name}: not a base unit`);
  }
  if (![...types.keys()].some((name) => name.startsWith('aurora_')))
    problems.push('no metric of this program');
  return problems;
}

/** The metric that a sample belongs to: histograms and summaries have several names. */
function familyOf(sample: string, types: ReadonlyMap<string, string>): string {
  const base = sample.replace(/_(bucket|sum|count)$/, '');
  return ['histogram', 'summary'].includes(types.get(base) ?? '') ? base : sample;
}
