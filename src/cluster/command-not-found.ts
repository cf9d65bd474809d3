import type { Hook } from '@oclif/core';

/** "aurora strat": one line and a hint, as everywhere else, in place of oclif's own words. */
const commandNotFound: Hook<'command_not_found'> = async ({ id, config }) => {
  const wanted = id.replaceAll(':', ' ');
  // "inspect leases x" is the command "inspect leases" with a word too many; the longest that there is was meant.
  const known = config.commands
    .map((command) => command.id.replaceAll(':', ' '))
    .filter((name) => wanted.startsWith(`${name} `))
    .sort((a, b) => b.length - a.length)[0];
  const line =
    known === undefined
      ? `aurora: error: unknown command "${wanted}"`
      : `aurora ${known}: error: too many command-line arguments (first is "${wanted.slice(known.length + 1)}")`;
  const who = known === undefined ? 'aurora' : `aurora ${known}`;
  process.stderr.write(`${line}\n${who}: hint: Try "${who} --help" for more information.\n`);
  process.exit(1);
};

export default commandNotFound;
