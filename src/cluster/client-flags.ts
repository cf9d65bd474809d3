import { Flags } from '@oclif/core';
import type pg from 'pg';
import { connect, resolveConnection } from '../psql/connection.js';
import { defaultServer } from './default-server.js';
import { promptPassword } from './prompt.js';

/** Connection flags that all client commands share, as in PostgreSQL's programs. */
export const clientFlags = {
  host: Flags.string({
    char: 'h',
    description: 'database server host or socket directory',
    helpValue: 'HOSTNAME',
  }),
  port: Flags.integer({
    char: 'p',
    description: 'database server port',
    helpValue: 'PORT',
    min: 1,
    max: 65535,
  }),
  username: Flags.string({ char: 'U', description: 'user name to connect as', helpValue: 'USERNAME' }),
  'no-password': Flags.boolean({ char: 'w', description: 'never prompt for password' }),
  password: Flags.boolean({ char: 'W', description: 'force password prompt' }),
};

interface ClientFlagValues {
  /** The cluster to connect to when nothing else is said; default: AURORA_HOME. */
  pgdata?: string | undefined;
  host?: string | undefined;
  port?: number | undefined;
  username?: string | undefined;
  'no-password': boolean;
  password: boolean;
}

/** Connects as the flags and the environment say. `sessionOptions`: see ConnectionOptions. */
export async function connectWith(
  flags: ClientFlagValues,
  dbname: string | undefined,
  applicationName: string,
  sessionOptions?: string,
): Promise<pg.Client> {
  const options = {
    host: flags.host,
    port: flags.port,
    user: flags.username,
    dbname,
    forcePassword: flags.password,
    neverPassword: flags['no-password'],
    askPassword: () => promptPassword('Password: '),
    applicationName,
    ...(sessionOptions !== undefined && { sessionOptions }),
    warn: (message: string): void => void process.stderr.write(`${message}\n`),
  };
  const server = defaultServer(flags.pgdata ?? process.env['AURORA_HOME']);
  return connect(resolveConnection(options, process.env, server), options);
}
