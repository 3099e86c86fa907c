/**
 * The table of the rules of conformance. `npx vitest run test/unit/conformance.test.ts -u` writes the tables in
 * docs/conformance.md.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { documents } from '../../lib/conformance/rule';
import { isRule, themes } from '../../lib/conformance/rules';
import { knownClients, knownServers, type KnownPeer } from '../support/conformance';

const file = join(__dirname, '../../docs/conformance.md');

const rules = themes.flatMap(({ rules: ofTheme }) => ofTheme);

function rulesTable(): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
  return themes
    .map(({ title, rules: ofTheme }) =>
      [
        `### ${title}`,
        '',
        '| rule | level | source | meaning |',
        '| --- | --- | --- | --- |',
        ...ofTheme.map(({ id, level, document, paragraph, text, destructive }) => {
          const source = `[${document}](${documents[document]}), ${paragraph}`;
          return `| ${id} | ${level}${destructive ? ' *' : ''} | ${cell(source)} | ${cell(text)} |`;
        }),
        '',
      ].join('\n'),
    )
    .join('\n');
}

function peersTable(peers: readonly KnownPeer[]): string {
  return [
    '| peer | breaks | does not offer |',
    '| --- | --- | --- |',
    ...peers.map(
      ({ name, failed, notOffered }) =>
        `| ${name} | ${failed.join(', ') || 'nothing'} | ${notOffered.join(', ') || '-'} |`,
    ),
    '',
  ].join('\n');
}

/** The page with each part between `<!-- NAME: begin -->` and `<!-- NAME: end -->` replaced. */
function page(): string {
  const parts: Record<string, string> = {
    rules: rulesTable(),
    servers: peersTable(Object.values(knownServers)),
    clients: peersTable(Object.values(knownClients)),
  };
  return Object.entries(parts).reduce(
    (text, [name, content]) => {
      const begin = `<!-- ${name}: begin -->\n`;
      const [before, rest] = text.split(begin) as [string, string];
      return `${before}${begin}\n${content}\n${rest.slice(rest.indexOf(`<!-- ${name}: end -->`))}`;
    },
    readFileSync(file, 'utf8'),
  );
}

test('docs/conformance.md has the generated tables', async () => {
  await expect(page()).toMatchFileSnapshot(file);
});

test('each rule has an id of its own and is one sentence', () => {
  const ids = rules.map(({ id }) => id);
  expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
  expect(rules.filter(({ text }) => !/^[A-Za-z].*(\.|\.\))$/.test(text)).map(({ id }) => id)).toEqual([]);
});

test('the known deviations of peers name rules', () => {
  const peers: KnownPeer[] = [...Object.values(knownServers), ...Object.values(knownClients)];
  const named = peers.flatMap(({ failed, notOffered }) => [...failed, ...notOffered]);
  expect(named.filter((id) => !isRule(id))).toEqual([]);
});
