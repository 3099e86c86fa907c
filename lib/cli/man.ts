/** The manual pages of the commands, made of the same tables as their help. lib/build.mjs writes them to dist/man. */
import type { EventEmitter } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Help, Option } from 'commander';
import { makeProgram } from './commands';
import { RUN } from './run';
import { makeRunCommand } from './run-help';
import { version } from './version';

const SECTION = 1;

/** The headings of help texts that manual pages name otherwise (man-pages(7)). */
const headings: Readonly<Record<string, string>> = {
  'Exit codes': 'EXIT STATUS',
  Example: 'EXAMPLES',
};

/** Characters that roff would take for commands, or print as others. */
const escapes: Readonly<Record<string, string>> = {
  '\\': '\\e',
  '-': '\\-',
  "'": '\\(aq',
  '`': '\\(ga',
  '^': '\\(ha',
  '~': '\\(ti',
};

/** Text without blanks at its begin. A dot at the begin of a line would be a request. */
const escaped = (text: string): string =>
  text.replace(/[\\'`^~-]/g, (character) => escapes[character]!).replace(/^\./, '\\&.');

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`;

/** Prose: each sentence begins a line, and what is in backticks is bold. */
function prose(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, ' ')
    .split(/(?<=[.:;]\)?) /)
    .map((sentence) =>
      sentence
        .split(/`([^`]+)`/)
        .map((part, i) => (i % 2 === 0 ? escaped(part) : bold(part)))
        .join(''),
    )
    .map((line) => line.replace(/^\./, '\\&.'))
    .join('\n');
}

const pageOf = (path: string): string => path.replaceAll(' ', '-');

/** `wireup-run(1)`, in bold. */
const reference = (path: string): string => `${bold(pageOf(path))}(${SECTION})`;

/** `-n, --ranks <N>` with bold names and values in italics. */
function flags(text: string): string {
  return text
    .split(/(--?[\w-]+|[<[][^>\]]+[>\]])/)
    .map((part, i) => {
      if (i % 2 === 0) return escaped(part);
      if (part.startsWith('-')) return bold(part);
      return part.replace(/[\w-]+/g, (name) => `\\fI${escaped(name)}\\fR`);
    })
    .join('');
}

function optionsOf(help: Help, command: Command): string[] {
  const groups = new Map<string, Option[]>();
  for (const option of help.visibleOptions(command)) {
    const heading = (option.helpGroupHeading ?? 'Options:').replace(/:$/, '');
    groups.set(heading, [...(groups.get(heading) ?? []), option]);
  }
  return [...groups].flatMap(([heading, options]) => [
    ...(heading === 'Options' ? [] : [`.SS ${escaped(heading)}`]),
    ...options.flatMap((option) => ['.TP', flags(option.flags), prose(help.optionDescription(option))]),
  ]);
}

/** The text below the options, which the help has as prose and as headings with indented lines. */
function helpBelow(command: Command): string {
  let text = '';
  // Commander's types do not declare that a command is an emitter, and it has no method for this text.
  const emitter = command as unknown as EventEmitter;
  emitter.emit('afterHelp', { error: false, command, write: (part: string) => (text += part) });
  return text;
}

/** `  124  a time limit passed`, and lines that continue it. */
function termsIn(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const [, term, text] = /^ {2}(\S+(?: \S+)*) {2,}(\S.*)$/.exec(line) ?? [];
    if (term !== undefined) return ['.TP', bold(term), prose(text!)];
    return [prose(line)];
  });
}

interface Below {
  description: string[];
  sections: string[];
}

function partsOf(text: string): Below {
  const below: Below = { description: [], sections: [] };
  for (const block of text.split(/\n\s*\n/)) {
    const [first = '', ...lines] = block.replace(/^\n+|\s+$/g, '').split('\n');
    if (first === '') continue;
    const heading = /^([A-Z].*):$/.exec(first)?.[1];
    if (heading === undefined || lines.length === 0 || lines.some((line) => !line.startsWith('  '))) {
      below.description.push('.PP', prose([first, ...lines].join(' ')));
      continue;
    }
    const isExample = /^Examples?$/.test(heading);
    below.sections.push(`.SH ${headings[isExample ? 'Example' : heading] ?? escaped(heading.toUpperCase())}`);
    if (isExample) below.sections.push('.EX', ...lines.map((line) => escaped(line.slice(2))), '.EE');
    else below.sections.push(...termsIn(lines));
  }
  return below;
}

function manPage(command: Command, path: string, date: string): string {
  const help = command.createHelp();
  const { description, sections } = partsOf(helpBelow(command));
  const children = help.visibleCommands(command).filter((child) => child.name() !== 'help');
  const parent = path.split(' ').slice(0, -1).join(' ');
  const summary = command.description().replace(/\.$/, '');
  const usage = command.usage();
  return `${[
    `.TH ${escaped(pageOf(path).toUpperCase())} ${SECTION} ${date} "wireup ${version}" "wireup manual"`,
    '.SH NAME',
    `${escaped(pageOf(path))} \\- ${escaped(summary.charAt(0).toLowerCase() + summary.slice(1))}`,
    '.SH SYNOPSIS',
    `${bold(path)} ${escaped(usage)}`,
    ...(path === RUN ? ['.PP', `${bold('mpiexec.wireup')} ${escaped(usage)}`] : []),
    '.SH DESCRIPTION',
    prose(command.description().replace(/([^.])$/, '$1.')).replace(/^./, (letter) => letter.toUpperCase()),
    ...description,
    ...(children.length === 0 ? [] : ['.SH COMMANDS']),
    ...children.flatMap((child) => ['.TP', reference(`${path} ${child.name()}`), prose(child.description())]),
    '.SH OPTIONS',
    ...optionsOf(help, command),
    ...sections,
    '.SH SEE ALSO',
    [...(parent === '' ? [] : [parent]), ...children.map((child) => `${path} ${child.name()}`)]
      .map(reference)
      .join(',\n'),
  ].join('\n')}\n`;
}

/** @returns the text of each page by the name of its file */
export function manPages(date: string): Map<string, string> {
  const pages = new Map<string, string>();
  const add = (command: Command, path: string): void => {
    pages.set(`${pageOf(path)}.${SECTION}`, manPage(command, path, date));
    for (const child of command.commands) {
      const below = `${path} ${child.name()}`;
      add(below === RUN ? makeRunCommand(RUN) : child, below);
    }
  };
  const program = makeProgram({ name: 'wireup', words: [], notes: -1 });
  add(program, program.name());
  pages.set(`mpiexec.wireup.${SECTION}`, `.so man${SECTION}/${pageOf(RUN)}.${SECTION}\n`);
  return pages;
}

/** Writes the pages to a new folder. */
export function writeManPages(folder: string): void {
  // https://reproducible-builds.org/specs/source-date-epoch
  const seconds = process.env.SOURCE_DATE_EPOCH;
  const time = seconds === undefined ? new Date() : new Date(Number(seconds) * 1000);
  mkdirSync(folder);
  for (const [name, text] of manPages(time.toISOString().slice(0, 10)))
    writeFileSync(join(folder, name), text);
}
