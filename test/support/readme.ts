/** The JavaScript examples of README.md and docs/, with the output that the pages show. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root';

/** The text of a file in the checkout. */
export const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** The programs of examples/, which examples.test.ts runs. */
export const programs = readdirSync(join(root, 'examples')).map((name) => read(`examples/${name}`));

export interface Example {
  title: string;
  code: string;
  output: string;
}

/** The examples of a page, except those that are programs of examples/. */
export function examplesOf(page: string): Example[] {
  const blocks = [...read(page).matchAll(/^```js\n([^]*?)^```\n(?:\n```text\n([^]*?)^```)?/gm)];
  return blocks
    .filter(([, code]) => !programs.includes(code!))
    .map(([, code, output = '(no output is documented)'], i) => ({
      title: `${page}, example ${i + 1}`,
      code: code!,
      output: output,
    }));
}

/** Replaces pids and the host name, which differ between runs. */
export const masked = (text: string): string =>
  text.replace(/\bpid \d+/g, 'pid N').replace(/\bon \S+/g, 'on HOST');
