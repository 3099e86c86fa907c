/** The conversion between bytes and strings in the addon. */
import { expect, test } from 'vitest';
import { native } from '../../lib/native';
import { checkString } from '../../lib/options';

const textOf = (...bytes: number[]): string => native.textOfBytes(Uint8Array.from(bytes));

test('the addon converts UTF-8 as Node does', () => {
  const text = 'aé€𝄞\u{10ffff}\ufffd\u07ff\u0800\uffff';
  expect(native.textOfBytes(Buffer.from(text))).toBe(text);
  expect(native.bytesOfText(text)).toEqual(Buffer.from(text));
});

test.each([
  ['a lone byte', [0x61, 0xe9], 'a\udce9'],
  ['a truncated sequence', [0xe2, 0x82], '\udce2\udc82'],
  ['an overlong form', [0xc0, 0xaf, 0xe0, 0x80, 0xaf], '\udcc0\udcaf\udce0\udc80\udcaf'],
  ['a surrogate', [0xed, 0xb3, 0xa9], '\udced\udcb3\udca9'],
  ['a code point above U+10FFFF', [0xf4, 0x90, 0x80, 0x80], '\udcf4\udc90\udc80\udc80'],
])('%s becomes lone surrogates, and checkString() refuses lone surrogates from a user', (_, bytes, text) => {
  expect(textOf(...bytes)).toBe(text);
  expect([...native.bytesOfText(text)]).toEqual(bytes);
  expect(() => checkString('x', text)).toThrow(/x: expected a string without lone surrogates/);
});

test('every sequence of bytes survives the conversion to a string and back', () => {
  let seed = 1;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  // Bytes that start or continue a sequence occur more often than others.
  const structural = [0x00, 0x7f, 0x80, 0xbf, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff];
  for (let i = 0; i < 20_000; i++) {
    const bytes = Array.from({ length: random(9) }, () =>
      random(2) === 0 ? random(256) : structural[random(structural.length)]!,
    );
    expect([...native.bytesOfText(textOf(...bytes))], String(bytes)).toEqual(bytes);
  }
});
