import { setTimeout as sleep } from 'node:timers/promises';
import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { outputWriter, secondsFlag, untilInterrupted } from '../src/inspect/flags.js';
import { paintLines } from '../src/inspect/tone.js';
import { TopTool } from '../src/inspect/top.js';
import { TopHistory, topLines } from '../src/inspect/top-print.js';

/** Without a terminal there is no height to keep to, and lines are as long as a log's reader wants them. */
const PLAIN = { columns: 120, rows: Infinity };

export default class Top extends AuroraCommand {
  static override summary = 'Watch a cluster: its storage nodes and computes, live.';
  static override description = `For each storage node: its state, how far its log reaches (SCL), committed log that it lacks (LAG) and has not made pages of yet (APPLY LAG), log
received and records replayed a second, its share of the computes' reads and their average latency, room taken and left. For each compute: transactions
a second, the time that a commit waits for the write quorum, WAL written a second, how many block reads shared buffers answer, blocks fetched from
storage, and sessions. A wider terminal shows more columns, a higher one the curves of the last minutes.

On a terminal it is drawn anew every --interval seconds until q or ^C. When the output is no terminal, or with --json, one report follows the other until
^C. With --once there is one report, of the interval that it took.`;
  static override examples = [
    '<%= config.bin %> top -D ./aurora-data',
    '<%= config.bin %> top -D ./aurora-data --once',
    '<%= config.bin %> top -D ./aurora-data --interval 10 --json >> top.log',
  ];
  static override flags = {
    ...clusterFlag,
    interval: secondsFlag({
      char: 'i',
      description: 'seconds from one report to the next',
      default: 1,
      min: 0.1,
      max: 3600,
    }),
    once: Flags.boolean({ description: 'one report, then end' }),
    json: Flags.boolean({ description: 'each report as one JSON object on a line' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(Top);
    const root = this.requireCluster(flags.pgdata);
    const tool = new TopTool(root);
    try {
      await tool.first(); // a cluster that does not run is an error, not a picture
      const live = !flags.json && !flags.once && process.stdout.isTTY && process.stdin.isTTY;
      if (live) await this.watch(tool, flags.interval * 1000);
      else await this.report(tool, flags.interval * 1000, flags);
    } finally {
      await tool.close();
    }
  }

  private async watch(tool: TopTool, refreshMs: number): Promise<void> {
    const { showLive } = await import('../src/ui/live.js');
    const history = new TopHistory();
    const look = async (): Promise<Awaited<ReturnType<TopTool['look']>>> => {
      const report = await tool.look();
      history.add(report);
      return report;
    };
    await showLive(
      {
        title: `aurora top, every ${refreshMs / 1000} s`,
        refreshMs,
        look,
        lines: (report, size) => topLines(report, size, history),
      },
      'full',
    );
  }

  private async report(
    tool: TopTool,
    intervalMs: number,
    { json, once }: { json: boolean; once: boolean },
  ): Promise<void> {
    const write = outputWriter(process.stdout);
    await untilInterrupted(async (signal) => {
      for (let heard = true; heard && !signal.aborted;) {
        await sleep(intervalMs, undefined, { signal }).catch(() => undefined); // interrupted: the loop ends
        if (signal.aborted) return;
        const report = await tool.look();
        heard = await write(
          json ? `${JSON.stringify(report)}\n` : `${report.at}\n${paintLines(topLines(report, PLAIN))}\n\n`,
        );
        if (once) return;
      }
    });
  }
}
