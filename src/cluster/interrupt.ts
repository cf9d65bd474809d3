/** ^C and its like while a command is half-way: the command undoes what it did, then ends with the signal's exit status. */
import { DbError } from '../engine/errors.js';
import { endDaemon, runningPid } from './daemon-process.js';
import { clusterLayout } from './layout.js';
import type { StartHooks } from './lock.js';
import { Manifest } from './manifest.js';
import { computeDaemonName, startCluster, storageDaemonName, type StartOptions } from './start.js';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const ROUND_MS = 50;
const END_TIMEOUT_MS = 10_000;

export class Interrupt {
  /** The first signal caught. */
  caught: NodeJS.Signals | null = null;
  private readonly onSignal = (signal: NodeJS.Signals): void => {
    if (this.caught !== null) return;
    this.caught = signal;
    this.onFirst();
  };

  constructor(private readonly onFirst: () => void = () => undefined) {
    for (const signal of SIGNALS) process.on(signal, this.onSignal);
  }

  /** Throws INTERRUPTED once a signal was caught. */
  check(hint?: string): void {
    if (this.caught !== null)
      throw new DbError('INTERRUPTED', `interrupted by ${this.caught}`, {
        reaction: 'usage',
        ...(hint && { hint }),
      });
  }

  /** From here on signals end the process again. */
  release(): void {
    for (const signal of SIGNALS) process.off(signal, this.onSignal);
  }
}

/** startCluster that a signal undoes. Throws INTERRUPTED, and as startCluster. */
export function startOrUndo(options: StartOptions): Promise<Awaited<ReturnType<typeof startCluster>>> {
  return endingNewDaemons(options.root, (hooks) => startCluster({ ...options, hooks }));
}

/**
 * Work that starts daemons of a cluster, and that a signal undoes: then every daemon that did not run when it began is ended, and the work is to fail by
 * that or by its hooks, and to take back what else it did. Throws INTERRUPTED, and as the work.
 */
export async function endingNewDaemons<T>(
  root: string,
  start: (hooks: StartHooks) => Promise<T>,
): Promise<T> {
  const interrupt = new Interrupt();
  let settled = false;
  /** Null until it is our turn: what another command starts is not ours to end. */
  let before: ReadonlySet<string> | null = null;
  try {
    const hooks = {
      check: () => interrupt.check(),
      begun: () => {
        before = new Set(runningDaemons(root));
      },
    };
    const work = start(hooks).finally(() => {
      settled = true;
    });
    const undone = undoWhenCaught();
    const [result] = await Promise.allSettled([work, undone]);
    await undone;
    interrupt.check();
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  } finally {
    interrupt.release();
  }

  /** A daemon ended under its starter makes the start fail; until it has, the next one may already be on its way. */
  async function undoWhenCaught(): Promise<void> {
    while (!settled) {
      if (interrupt.caught !== null) await endNew();
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
    }
    if (interrupt.caught !== null) await endNew();
  }

  async function endNew(): Promise<void> {
    if (before === null) return;
    const { run } = clusterLayout(root);
    for (const name of runningDaemons(root)) {
      // A compute has no state of its own, and half started it cannot stop in order: its storage may be gone already.
      if (!before.has(name))
        await endDaemon(run, name, name.startsWith('compute') ? 'SIGKILL' : 'SIGTERM', END_TIMEOUT_MS);
    }
  }
}

/** Names of the cluster's daemons that run, computes first. */
function runningDaemons(root: string): string[] {
  const layout = clusterLayout(root);
  const manifest = Manifest.open(layout);
  try {
    const names = [
      ...manifest.computes.map((compute) => computeDaemonName(compute.name)),
      ...manifest.storageNodes.map((node) => storageDaemonName(node.id)),
    ];
    return names.filter((name) => runningPid(layout.run, name) !== null);
  } finally {
    manifest.close();
  }
}
