import { Args, Flags } from '@oclif/core';

/** The compute that a command is about. */
export const computeNameArg = {
  name: Args.string({ description: 'name of the compute', required: true }),
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
