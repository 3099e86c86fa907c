/** The table of all rules. `docs/conformance.md` is made of it. */
import type { Rule, RuleTheme, Side } from './rule';
import { client1, client2, clientPort, clientReads1, clientRun } from './rules/clients';
import { environment } from './rules/environment';
import { barrier, end, framing, information, init, kvs, names, spawn } from './rules/pmi1';
import { pmi12 } from './rules/pmi12';
import { attributes2, kvs2, start2 } from './rules/pmi2';
import { port } from './rules/port';

export const themes: readonly RuleTheme[] = [
  environment,
  port,
  framing,
  init,
  information,
  kvs,
  barrier,
  names,
  spawn,
  end,
  pmi12,
  start2,
  kvs2,
  attributes2,
  clientRun,
  clientPort,
  client1,
  clientReads1,
  client2,
];

/** The rules that bind one side, in the order of the table. */
export function rulesFor(side: Side): readonly Rule[] {
  return themes.filter(({ binds }) => binds === side).flatMap(({ rules }) => rules);
}

const byId = new Map(themes.flatMap(({ rules }) => rules.map((rule) => [rule.id, rule] as const)));

export function isRule(id: string): boolean {
  return byId.has(id);
}

/** The rule with this id, which exists. */
export function ruleOf(id: string): Rule {
  return byId.get(id)!;
}
