/**
 * The part of ABNF (RFC 5234) that a grammar without recursion needs. Each rule becomes a regular expression over
 * bytes.
 */

const core: Record<string, string> = { ALPHA: '[A-Za-z]', DIGIT: '[0-9]', HEXDIG: '[0-9A-Fa-f]', SP: ' ' };

const byte = (hex: string): string => `\\x${hex.padStart(2, '0')}`;

/** The rules of a grammar, from name to definition. A line that begins with a blank continues the previous one. */
export function rulesOf(grammar: string): Map<string, string> {
  const rules = new Map<string, string>();
  let last = '';
  for (const line of grammar.split('\n')) {
    const text = line.replace(/;.*$/, '').trimEnd();
    const start = /^([A-Za-z][\w-]*)\s*=\s*(.*)$/.exec(text);
    if (start !== null) rules.set((last = start[1]!), start[2]!);
    else if (text.trim() !== '') rules.set(last, `${rules.get(last)} ${text.trim()}`);
  }
  return rules;
}

/** Returns a function that checks whether a rule matches a whole text. */
export function matcher(rules: Map<string, string>, rule: string): (text: string) => boolean {
  const pattern = new RegExp(`^(?:${source(rules, rule)})$`, 's');
  return (text) => pattern.test(Buffer.from(text).toString('latin1'));
}

function source(rules: Map<string, string>, rule: string): string {
  const definition = rules.get(rule);
  if (definition === undefined) {
    if (core[rule] === undefined) throw new Error(`no rule ${rule}`);
    return core[rule];
  }
  const tokens =
    definition.match(
      /"[^"]*"|%x[0-9A-F]+(?:-[0-9A-F]+)?|\d*\*\d*|\d+(?=[("[%A-Za-z])|[()[\]/]|[A-Za-z][\w-]*|\S/g,
    ) ?? [];
  const parse = (end: string | undefined): string => {
    const alternatives = [''];
    for (;;) {
      const token = tokens.shift();
      if (token === end) return alternatives.join('|');
      if (token === undefined) throw new Error(`${rule}: expected ${end}`);
      if (token === '/') alternatives.push('');
      else alternatives.push(`${alternatives.pop()}${element(token)}`);
    }
  };
  const element = (token: string): string => {
    const repeat = /^(\d*)(\*?)(\d*)$/.exec(token);
    if (repeat !== null) {
      const [, least, star, most] = repeat;
      const next = tokens.shift();
      if (next === undefined) throw new Error(`${rule}: nothing to repeat`);
      return `(?:${element(next)}){${least === '' ? 0 : least}${star === '' ? '' : `,${most}`}}`;
    }
    if (token === '(') return `(?:${parse(')')})`;
    if (token === '[') return `(?:${parse(']')})?`;
    if (token.startsWith('"')) return token.slice(1, -1).replace(/[^\w]/g, '\\$&');
    const range = /^%x([0-9A-F]+)(?:-([0-9A-F]+))?$/.exec(token);
    if (range !== null)
      return range[2] === undefined ? byte(range[1]!) : `[${byte(range[1]!)}-${byte(range[2])}]`;
    if (/^[A-Za-z]/.test(token)) return `(?:${source(rules, token)})`;
    throw new Error(`${rule}: what is ${token}?`);
  };
  return parse(undefined);
}
