import { Flags } from '@oclif/core';
import { DbError } from '../engine/errors.js';
import { endpointOf } from '../storage/config.js';
import { clusterFlag } from './command.js';

/** What the commands that change the members of a volume share. */
export const changeFlags = {
  ...clusterFlag,
  timeout: Flags.integer({
    char: 't',
    description: 'seconds to wait; what is done by then stays done, and the same command goes on with it',
    default: 3600,
    min: 1,
    helpValue: 'SECONDS',
  }),
  force: Flags.boolean({ description: 'also when copies are then not spread evenly over the zones' }),
  silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
};

export const newNodeFlags = {
  zone: Flags.string({ description: 'zone of the new node (default: the emptiest)', helpValue: 'ZONE' }),
  at: Flags.string({
    description: 'address of a node that runs elsewhere (aurora storage start --join)',
    helpValue: 'HOST:PORT',
  }),
};

export const deleteDataFlag = {
  'delete-data': Flags.boolean({ description: 'delete the folder of the removed node' }),
};

/** Throws USAGE_ADDRESS. */
export function addressOf(text: string): { host: string; port: number } {
  const endpoint = endpointOf(text);
  if (endpoint) return endpoint;
  throw new DbError('USAGE_ADDRESS', `"${text}" is no address`, { hint: 'Write it as HOST:PORT.' });
}
