const escapes: Readonly<Record<string, string>> = { '\t': '\\t', '\n': '\\n', '\r': '\\r' };

/**
 * Text of peers, ranks and file names, made fit to stand in a line for people: control characters (C0, DEL, C1) become
 * `\xHH` (`\t`, `\n` and `\r` for these three); separators of lines and paragraphs, controls of bidirectional text and
 * lone surrogates become `\uHHHH`. A backslash stays as it is, so to escape a text again changes nothing.
 * native/wire/printable.h does the same with bytes.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.charCodeAt(0);
    return (
      escapes[character] ??
      (code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`)
    );
  });
}
