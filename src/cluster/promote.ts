import { setTimeout as sleep } from 'node:timers/promises';
import { controlSocketPath } from '../compute/control-path.js';
import type { ComputeStatus } from '../compute/status.js';
import { DbError, errorMessage, isDbError } from '../engine/errors.js';
import { controlRequest } from './control-client.js';
import { runningPid } from './daemon-process.js';
import { computeNamed, withManifest } from './replicas.js';
import { computeDaemonName } from './start.js';

const ASK_MS = 3000;
const POLL_MS = 50;

export interface PromoteOptions {
  root: string;
  name: string;
  /** Do not ask the primary. */
  force: boolean;
  timeoutMs: number;
  progress?: (line: string) => void;
}

/**
 * Makes a replica the primary: by a switchover when the primary answers, else by taking over. Both go on by themselves if we end meanwhile.
 * Throws CLUSTER_NO_COMPUTE, CLUSTER_NOT_RUNNING, USAGE_ROLE, CLUSTER_NOT_PROMOTED, CLUSTER_TIMEOUT.
 */
export async function promote(options: PromoteOptions): Promise<{ port: number; tookMs: number }> {
  const begun = performance.now();
  return withManifest(options.root, async (layout, manifest) => {
    const target = computeNamed(manifest, options.name);
    const { socketDir } = manifest.volume;
    const ask = (name: string, method: 'GET' | 'POST', path: string): Promise<ComputeStatus> =>
      controlRequest<ComputeStatus>(controlSocketPath(socketDir, name), method, path, ASK_MS);
    const running = (name: string): boolean => runningPid(layout.run, computeDaemonName(name)) !== null;
    if (!running(target.name))
      throw new DbError('CLUSTER_NOT_RUNNING', `compute "${target.name}" is not running`, {
        hint: `Start it with: aurora compute start ${target.name}`,
      });
    if ((await ask(target.name, 'GET', '/status')).role === 'primary')
      throw new DbError('USAGE_ROLE', `compute "${target.name}" is the primary already`);
    const primary = manifest.computes.find(
      (compute) => compute.role === 'primary' && compute.name !== target.name,
    );
    let asked = false;
    if (!options.force && primary && running(primary.name)) {
      try {
        await ask(primary.name, 'POST', `/handover?to=${target.name}`);
        asked = true;
        options.progress?.(`the primary "${primary.name}" stops and hands over`);
      } catch (err) {
        // One that answers and says no has a reason; one that does not answer is what this command is for.
        if (!isDbError(err) || !['NET_TIMEOUT', 'NET_CONTROL'].includes(err.code)) throw err;
        options.progress?.(
          `the primary "${primary.name}" does not answer (${errorMessage(err)}): it is overruled`,
        );
      }
    }
    if (!asked) await ask(target.name, 'POST', '/promote');
    const deadline = Date.now() + options.timeoutMs;
    const others = manifest.computes.filter((compute) => compute.name !== target.name);
    for (;;) {
      const status = await ask(target.name, 'GET', '/status').catch(() => null);
      if (isWriter(status)) break;
      const lost = !running(target.name);
      const writer = asked || lost ? await writerAmong(others.map((c) => c.name).filter(running), ask) : null;
      const late = Date.now() > deadline;
      if (writer !== null || (lost && late)) {
        if (writer !== null) manifest.setPrimary(writer);
        throw notPromoted(target.name, { lost, writer, problem: status?.problem ?? null });
      }
      if (late)
        throw new DbError(
          'CLUSTER_TIMEOUT',
          `compute "${target.name}" is not the primary yet: ${status?.problem ?? 'it does not say why'}`,
          {
            hint: `It may still become it; look with: aurora status`,
          },
        );
      if (asked && !running(primary!.name) && status?.role === 'replica') {
        // It may have died before it named its successor: then nobody but us tells that one.
        asked = false;
        options.progress?.(`the primary "${primary!.name}" has ended without handing over`);
        await ask(target.name, 'POST', '/promote').catch((err: unknown) => {
          if (!isDbError(err, 'USAGE_ROLE')) throw err; // it had heard of it by itself
        });
      }
      await sleep(POLL_MS);
    }
    manifest.setPrimary(target.name);
    return { port: target.port, tookMs: performance.now() - begun };
  });
}

function isWriter(status: ComputeStatus | null): boolean {
  return status?.role === 'primary' && ['running', 'throttled'].includes(status.state);
}

/** The compute that says that it writes, if one does. */
async function writerAmong(
  names: readonly string[],
  ask: (name: string, method: 'GET', path: string) => Promise<ComputeStatus>,
): Promise<string | null> {
  const told = await Promise.all(names.map((name) => ask(name, 'GET', '/status').catch(() => null)));
  return names.find((_, i) => isWriter(told[i]!)) ?? null;
}

/** A successor that did not come leaves a cluster that goes on, or one that somebody must help. */
function notPromoted(
  name: string,
  { lost, writer, problem }: { lost: boolean; writer: string | null; problem: string | null },
): DbError {
  const what = lost
    ? `compute "${name}" ended before it was the primary`
    : `compute "${name}" did not become the primary${problem === null ? '' : ` (${problem})`}`;
  return new DbError(
    'CLUSTER_NOT_PROMOTED',
    `${what}; ${writer === null ? 'no compute is the primary now' : `"${writer}" is the primary`}`,
    {
      hint:
        writer === null
          ? 'Promote one that runs: aurora promote NAME (aurora status shows them), or start one: aurora compute start NAME'
          : `${lost ? `Look into its log and start it: aurora compute start ${name}. Then try again` : 'Try again'}: aurora promote ${name}`,
    },
  );
}
