const escapes: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/** Control characters, line separators, bidirectional controls and lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

/**
 * Makes text of peers, ranks and file names safe to print on one line. Control characters (C0, DEL, C1)
 * become `\xHH`, except `\t`, `\n` and `\r`. Line and paragraph separators, bidirectional controls and lone
 * surrogates become `\uHHHH`. Backslashes are unchanged, so that escaping a text twice has no further effect.
 * native/wire/printable.h implements the same rules for bytes.
 */
export function printable(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.charCodeAt(0);
    return (
      escapes[character] ??
      (code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`)
    );
  });
}

/** The value as JSON on one line, in which everything that printable() replaces is escaped as JSON has it. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
