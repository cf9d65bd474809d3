import { Args, type Command } from '@oclif/core';
import { AuroraCommand } from '../src/cluster/command.js';
import { completionScript, SHELLS, type CompletedCommand, type Shell } from '../src/cluster/completion.js';

export default class Completion extends AuroraCommand {
  static override summary = 'Print a shell completion script for bash, zsh or fish.';
  static override description = `For all commands, flags and their values. To have it in every new shell:

bash: aurora completion bash > ~/.local/share/bash-completion/completions/aurora

zsh: aurora completion zsh > DIR/_aurora, where DIR is in $fpath

fish: aurora completion fish > ~/.config/fish/completions/aurora.fish`;
  static override examples = [
    '<%= config.bin %> completion bash',
    'source <(<%= config.bin %> completion bash)',
  ];
  static override args = {
    shell: Args.string({
      ignoreStdin: true,
      description: 'which shell',
      options: [...SHELLS],
      required: true,
    }),
  };

  async run(): Promise<void> {
    const { args } = await this.parse(Completion);
    const commands = this.config.commands.filter(({ hidden, id }) => !hidden && id !== 'help').map(completed);
    commands.sort((a, b) => (a.words < b.words ? -1 : 1));
    process.stdout.write(completionScript(args.shell as Shell, commands));
  }
}

function completed({ id, summary, flags }: Command.Loadable): CompletedCommand {
  return {
    words: id.replaceAll(':', ' '),
    summary: firstLine(summary),
    flags: Object.values(flags)
      .filter(({ hidden }) => !hidden)
      .map((flag) => ({
        name: flag.name,
        char: flag.char,
        summary: firstLine(flag.summary ?? flag.description),
        takesValue: flag.type === 'option',
        options: (flag.type === 'option' && flag.options) || [],
        allowNo: flag.type === 'boolean' && flag.allowNo === true,
      })),
  };
}

function firstLine(text: string | undefined): string {
  return (text ?? '').split('\n')[0]!;
}
