import type { Hook } from '@oclif/core';

/** "aurora strat": one line and a hint, as everywhere else, in place of oclif's own words. */
const commandNotFound: Hook<'command_not_found'> = async ({ id, config }) => {
  const wanted = id.replaceAll(':', ' ');
  const [first] = id.split(':');
  const known = config.commands.some((command) => command.id === first);
  const line = known
    ? `aurora ${first}: error: too many command-line arguments (first is "${wanted.slice(first!.length + 1)}")`
    : `aurora: error: unknown command "${wanted}"`;
  process.stderr.write(
    `${line}\naurora: hint: Try "aurora ${known ? `${first} ` : ''}--help" for more information.\n`,
  );
  process.exit(1);
};

export default commandNotFound;
