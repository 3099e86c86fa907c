/** `wireup completion SHELL`: a completion script, made of the same tables as the help of the commands. */
import { Argument, type Command } from 'commander';
import { print } from '../report';
import { bashScript } from './bash';
import { fishScript } from './fish';
import { grammarOf, type CommandGrammar } from './grammar';
import { zshScript } from './zsh';

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const satisfies Record<
  string,
  (commands: readonly CommandGrammar[]) => string
>;

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes the command lines of wireup in a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(scripts)))
    .addHelpText(
      'after',
      `
A shell that has read the script completes without starting wireup.

Examples:
  source <(wireup completion bash)    # in ~/.bashrc
  source <(wireup completion zsh)     # in ~/.zshrc, after compinit
  wireup completion fish > ~/.config/fish/completions/wireup.fish`,
    )
    .action((shell: keyof typeof scripts) => print(scripts[shell](grammarOf(program))));
}
