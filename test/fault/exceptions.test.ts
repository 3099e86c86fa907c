// What throws inside, on the JavaScript thread and on the reactor's, is an error of the object that it was for: Node goes on,
// and all else with it. No call of the API lets anything through that would throw, so the addon is called with what it is not.

import { join } from 'node:path';

import { expect, it } from 'vitest';

import { root } from '../support/root';
import { run, type Result } from '../support/run';

function child(script: string): Promise<Result> {
  const prelude = `
    const addon = require(${JSON.stringify(join(root, 'build/Release/wireup.node'))});
    const said = {};
    let change = {};
    for (const name of ['openServer', 'launch']) {
      const real = addon[name];
      addon[name] = (options) => {
        said.options = options;
        return (said.handle = real({ ...options, ...change }));
      };
    }
    const { PmiClient, PmiServer, launch } = require(${JSON.stringify(join(root, 'dist/index.js'))});
    const tell = ({ name, code, message }) => console.log(name, code, message);
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
    'on the JavaScript thread',
    '{ nodes: [0, 5], appSizes: [2] }',
    'PmiError ERR_PMI_OPTION nodes: expected numbers from 0 without gaps',
  ],
  [
    'on the JavaScript thread, a wrong type',
    '{ nodes: 5 }',
    expect.stringMatching(/^PmiError ERR_PMI_INTERNAL /) as string,
  ],
  [
    'on the reactor',
    "{ kvsname: 'not a word' }",
    expect.stringMatching(/^PmiError ERR_PMI_OPTION kvsname: /) as string,
  ],
])('%s: a PmiError', async (_, change, line) => {
  const { code, stderr, stdout } = await child(`
    const good = await PmiServer.listen({ size: 1, address: 'tcp' });
    change = ${change};
    await PmiServer.listen({ size: 2 }).catch(tell);
    await expectAlive(good);`);
  expect({ code, stderr, lines: stdout.split('\n') }).toEqual({
    code: 0,
    stderr: '',
    lines: [line, 'alive', ''],
  });
});

it('on the reactor, in the middle of a launch: its result says so, and its ranks go', async () => {
  const { code, stderr, stdout } = await child(`
    const good = await PmiServer.listen({ size: 1, address: 'tcp' });
    const job = await launch({ program: 'sleep', args: ['1000'], ranks: 1 });
    await job.started;
    addon.spawn(said.handle, 1, 0, 1, { ...said.options, kvsname: 'not a word' }, []);
    const { exitCode, failure } = await job.result;
    console.log(exitCode, failure.reason, failure.message);
    await expectAlive(good);`);
  expect({ code, stderr, lines: stdout.split('\n') }).toEqual({
    code: 0,
    stderr: '',
    lines: [expect.stringMatching(/^[1-9]\d* agent inside wireup: kvsname: /) as string, 'alive', ''],
  });
});
