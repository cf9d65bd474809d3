/** All backslash commands by name. */
import type { SlashCommand } from '../slash.js';
import { auroraCommands } from './aurora.js';
import { branchCommands } from './branch.js';
import { connectionCommands } from './connection.js';
import { fileCommands } from './files.js';
import { formatCommands } from './format.js';
import { largeObjectCommands } from './large-objects.js';
import { infoCommand } from './info.js';
import { queryCommands } from './query.js';
import { variableCommands } from './variables.js';

const COMMANDS = new Map<string, SlashCommand>(
  Object.entries({
    ...auroraCommands,
    ...branchCommands,
    ...connectionCommands,
    ...fileCommands,
    ...formatCommands,
    ...largeObjectCommands,
    ...queryCommands,
    ...variableCommands,
  }),
);

export function findCommand(name: string): SlashCommand | null {
  const known = COMMANDS.get(name.toLowerCase() === 'copy' ? 'copy' : name);
  return known ?? infoCommand(name);
}

/** Names for completion and \?. */
export function commandNames(): string[] {
  return [...COMMANDS.keys()];
}
