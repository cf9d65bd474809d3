import { Args, Flags } from '@oclif/core';

/** The compute that a command is about. */
export const computeNameArg = {
  name: Args.string({ description: 'name of the compute', required: true }),
};

/** What can be said of a new replica. */
export const replicaFlags = {
  port: Flags.integer({
    char: 'p',
    description: 'port to listen on (default: any that is free)',
    helpValue: 'PORT',
    min: 1,
    max: 65535,
  }),
  'failover-priority': Flags.integer({
    description: 'who becomes the primary when that is gone: the highest first (default: 50)',
    min: 0,
    max: 100,
    helpValue: 'N',
  }),
  failover: Flags.boolean({
    description: 'whether it may become the primary by itself (the default)',
    allowNo: true,
  }),
};

export const timeoutFlag = {
  timeout: Flags.integer({
    char: 't',
    description: 'seconds to wait',
    default: 60,
    min: 1,
    helpValue: 'SECONDS',
  }),
};

export const silentFlag = {
  silent: Flags.boolean({ char: 's', description: 'only print errors, no informational messages' }),
};

export const DEFAULT_FAILOVER_PRIORITY = 50;
