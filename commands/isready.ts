import { Flags } from '@oclif/core';
import { AuroraCommand, clusterFlag } from '../src/cluster/command.js';
import { clientFlags } from '../src/cluster/client-flags.js';
import { defaultServer } from '../src/cluster/default-server.js';
import { resolveConnection, type ServerAddress } from '../src/psql/connection.js';
import { PING, PING_WORDS, ping, type PingResult } from '../src/psql/ping.js';

const { host, port, username } = clientFlags;

interface ReadyReport {
  host: string;
  port: number;
  ready: boolean;
  /** accepting connections, rejecting connections, no response. */
  answer: string;
}

export default class Isready extends AuroraCommand {
  static override summary = 'Check whether a server accepts connections.';
  static override description = `As pg_isready. The server is that of the flags, else of the environment (PGHOST, PGPORT), else of the cluster that -D or
AURORA_HOME names; of several, the first that accepts connections. No right user name or password is needed.

Exit status: 0 it accepts connections, 1 it rejects them (while it starts, say), 2 no response, 3 no attempt was made (wrong options, say).`;
  static override examples = [
    '<%= config.bin %> isready -D ./aurora-data',
    '<%= config.bin %> isready -h db.example.org -t 10 -q && echo ready',
  ];
  static override enableJsonFlag = true;
  static override flags = {
    ...clusterFlag,
    host,
    port,
    username,
    dbname: Flags.string({
      char: 'd',
      description: 'database name, or a connection string',
      helpValue: 'DBNAME',
    }),
    quiet: Flags.boolean({ char: 'q', description: 'print nothing; the exit status says it' }),
    timeout: Flags.integer({
      char: 't',
      description: 'seconds to wait for an answer; 0 is for ever',
      default: 3,
      min: 0,
      helpValue: 'SECONDS',
    }),
  };

  async run(): Promise<ReadyReport> {
    this.failureStatus = PING.noAttempt;
    const { flags } = await this.parse(Isready);
    const options = { host: flags.host, port: flags.port, user: flags.username, dbname: flags.dbname };
    const { servers, user, database } = resolveConnection(options, process.env, defaultServer(flags.pgdata));
    let best: { server: ServerAddress; result: PingResult } | undefined;
    for (const server of servers) {
      const at = { host: server.hostaddr ?? server.host, port: server.port, user, database };
      const result = await ping(at, flags.timeout * 1000);
      if (best === undefined || result < best.result) best = { server, result };
      if (result === PING.accepting) break;
    }
    const { server, result } = best!;
    const answer = PING_WORDS[result];
    if (!flags.quiet) this.log(`${server.host}:${server.port} - ${answer}`);
    process.exitCode = result;
    return { host: server.host, port: server.port, ready: result === PING.accepting, answer };
  }
}
