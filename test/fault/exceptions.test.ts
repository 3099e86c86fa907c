// An exception on the JavaScript thread or on the reactor thread is an error of the object that it concerns. Node and
// all other objects go on. The API checks its arguments, so these tests pass invalid ones to the addon itself.

import { join } from 'node:path';

import { expect, it } from 'vitest';

import { root } from '../support/root';
import { run, type Result } from '../support/run';

function child(script: string): Promise<Result> {
  const prelude = `
    const addon = require(${JSON.stringify(join(root, 'build/Release/wireup.node'))});
    const seen = {};
    let change = {};
    for (const name of ['openServer', 'launch']) {
      const real = addon[name];
      addon[name] = (options) => {
        seen.options = options;
        return (seen.handle = real({ ...options, ...change }));
      };
    }
    const { PmiClient, PmiServer, launch } = require(${JSON.stringify(join(root, 'dist/index.js'))});
    const report = ({ name, code, message }) => console.log(name, code, message);
    const expectAlive = async (server) => {
      const pmi = await PmiClient.fromEnv({ env: server.env(0) });
      await pmi.finalize();
      await server.close();
      console.log('alive');
    };`;
  return run([process.execPath, '-e', `${prelude}\n(async () => {${script}})();`]);
}

it.each([
  [
    'an invalid value on the JavaScript thread',
    '{ nodes: [0, 5], appSizes: [2] }',
    'PmiError ERR_PMI_OPTION nodes: expected numbers from 0 without gaps',
  ],
  [
    'a wrong type on the JavaScript thread',
    '{ nodes: 5 }',
    expect.stringMatching(/^PmiError ERR_PMI_INTERNAL /) as string,
  ],
  [
    'an invalid value on the reactor thread',
    "{ kvsname: 'not a word' }",
    expect.stringMatching(/^PmiError ERR_PMI_OPTION kvsname: /) as string,
  ],
])('%s rejects with a PmiError, and other servers go on', async (_, change, line) => {
  const { code, stderr, stdout } = await child(`
    const good = await PmiServer.listen({ size: 1, address: 'tcp' });
    change = ${change};
    await PmiServer.listen({ size: 2 }).catch(report);
    await expectAlive(good);`);
  expect({ code, stderr, lines: stdout.split('\n') }).toEqual({
    code: 0,
    stderr: '',
    lines: [line, 'alive', ''],
  });
});
