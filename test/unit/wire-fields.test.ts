// An option whose value would break out of its field on the wire is refused, with the option's name, before anything is sent.
import { describe, expect, test } from 'vitest';
import { PmiClient } from '../../lib/client';
import { toSpawnEvent } from '../../lib/events';
import type { NativeSpawnAnswer } from '../../lib/native-notices';
import { PmiServer, type PmiServerOptions } from '../../lib/server';

const invalidNames: [string, string][] = [
  ['two lines', 'x\ncmd=set size=99'],
  ['two words', 'x size=99'],
  ['a tab', 'x\tsize=99'],
  ['two fields of PMI-2', 'x;rank=0'],
  ['an equals sign', 'x=y'],
  ['an escape', 'x\u001b[2J'],
  ['a NUL', 'x\0'],
  ['nothing', ''],
  ['256 bytes', 'ü'.repeat(128)],
];

async function listenError(options: Omit<PmiServerOptions, 'size'>): Promise<unknown> {
  try {
    await (await PmiServer.listen({ size: 1, ...options })).close();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe.each(invalidNames)('%s', (_, name) => {
  test('cannot be the spawner', async () => {
    expect(await listenError({ spawner: name })).toMatchObject({
      code: 'ERR_PMI_OPTION',
      message: expect.stringMatching(/^spawner: expected /) as string,
    });
  });

  test('cannot be the kvsname of a spawned process group', () => {
    const answers: NativeSpawnAnswer[] = [];
    const event = toSpawnEvent(
      { rank: 0, commands: [{ program: 'a', args: [], ranks: 1, info: [] }], preput: [] } as never,
      (answer) => answers.push(answer),
    );
    expect(() => event.accept({ kvsname: name })).toThrow(
      expect.objectContaining({
        code: 'ERR_PMI_OPTION',
        message: expect.stringMatching(/^kvsname: expected /) as string,
      }) as Error,
    );
    expect(answers).toEqual([]);
  });
});

test.each([
  ['a key of two lines', { 'k\ncmd=set': 'v' }, /^preput: expected 1 to 63 bytes without /],
  ['a key with a blank', { 'k k': 'v' }, /^preput: expected 1 to 63 bytes without /],
  ['a key that is too long', { ['k'.repeat(64)]: 'v' }, /^preput: expected 1 to 63 bytes without /],
  ['a value of two lines', { k: 'v\ncmd=set size=99' }, /^preput\.k: expected /],
  ['a value that is too long', { k: 'v'.repeat(1024) }, /^preput\.k: expected /],
])('PmiServer.listen() refuses preput with %s', async (_, preput, message) => {
  expect(await listenError({ preput: preput })).toMatchObject({
    code: 'ERR_PMI_OPTION',
    message: expect.stringMatching(message) as string,
  });
});

test.each([
  ['two lines', '1\ncmd=abort'],
  ['two words', '1 2'],
  ['two fields of PMI-2', '1;x=y'],
  ['nothing', ''],
  ['64 bytes', '1'.repeat(64)],
])('PmiClient.connect() refuses %s as PMI_ID', async (_, id) => {
  await expect(PmiClient.connect({ address: 'unix:///nowhere', id })).rejects.toMatchObject({
    code: 'ERR_PMI_OPTION',
    message: expect.stringMatching(/^id: expected /) as string,
  });
});
