import { setTimeout as sleep } from 'node:timers/promises';
import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../../src/cluster/command.js';
import { outputWriter, untilInterrupted } from '../../src/inspect/flags.js';
import { GossipTool, gossipJson } from '../../src/inspect/gossip.js';
import { gossipLines, gossipText } from '../../src/inspect/gossip-print.js';

const REFRESH_MS = 1000;

export default class InspectGossip extends AuroraCommand {
  static override summary = 'Show what each storage node knows of the others.';
  static override description = `Storage nodes tell each other of themselves once a second. For each node this prints its view: every member with its state (alive, suspect,
dead, left after an orderly stop, unknown before the first word of it), incarnation (raised at each start, and when the member contradicts a suspicion),
epoch, segment-complete LSN, applied, commit and garbage-collection LSN, load, and how old the news are. Views may differ for a moment; LSNs
lag behind by the age of the news.

With --watch the views are drawn anew every second until q or ^C; when the output is no terminal, they are printed one after the other.`;
  static override examples = [
    '<%= config.bin %> inspect gossip -D ./aurora-data',
    '<%= config.bin %> inspect gossip -D ./aurora-data --node 2 --json',
    '<%= config.bin %> inspect gossip -D ./aurora-data --watch',
  ];
  static override flags = {
    ...clusterFlag,
    node: Flags.string({ description: 'only the view of this storage node', helpValue: 'N' }),
    watch: Flags.boolean({ char: 'w', description: 'go on showing it every second' }),
    json: Flags.boolean({ description: 'as one JSON object; with --watch one a line' }),
  };

  async run(): Promise<void> {
    const { flags } = await this.parse(InspectGossip);
    const root = this.requireCluster(flags.pgdata);
    const tool = new GossipTool(root, flags.node);
    try {
      if (!flags.watch) {
        const nodes = await tool.ask();
        this.log(flags.json ? JSON.stringify(gossipJson(nodes), null, 2) : gossipText(nodes));
      } else if (!flags.json && process.stdout.isTTY && process.stdin.isTTY) {
        await tool.ask(); // a cluster that does not run is an error, not a picture
        const { showLive } = await import('../../src/ui/live.js');
        const look = async (): Promise<ReturnType<typeof gossipLines>> => gossipLines(await tool.look());
        const moreHint = '--node N shows one node';
        await showLive(
          { title: root, refreshMs: REFRESH_MS, look, lines: (lines) => lines, moreHint },
          'inline',
        );
      } else {
        await this.follow(tool, flags.json);
      }
    } finally {
      tool.close();
    }
  }

  private async follow(tool: GossipTool, json: boolean): Promise<void> {
    const write = outputWriter(process.stdout);
    await tool.ask();
    await untilInterrupted(async (signal) => {
      while (!signal.aborted) {
        const nodes = await tool.look();
        const at = new Date().toISOString();
        const text = json
          ? JSON.stringify({ at, ...(gossipJson(nodes) as object) })
          : `${at}\n${gossipText(nodes)}\n`;
        if (signal.aborted || !(await write(`${text}\n`))) return;
        await sleep(REFRESH_MS, undefined, { signal }).catch(() => undefined); // interrupted: the loop ends
      }
    });
  }
}
