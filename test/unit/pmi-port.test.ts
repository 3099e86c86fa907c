/** The grammar in docs/pmi-port.md agrees with the parsers and with the bytes on live connections. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { PmiClient, PmiServer } from '../../dist/index.js';
import type { Native } from '../../lib/native';
import { matcher, rulesOf } from '../support/abnf';
import { messageTable } from '../support/wire-table';

const root = join(__dirname, '../..');
const native = require(join(root, 'build/Release/wireup.node')) as Native;
const text = readFileSync(join(root, 'docs/pmi-port.md'), 'utf8');
const rules = rulesOf([...text.matchAll(/^```abnf\n([^]*?)^```/gm)].map((block) => block[1]).join('\n'));
const is = (rule: string, value: string): boolean => matcher(rules, rule)(value);

describe('addresses', () => {
  const accepted = [
    'localhost:5000',
    '127.0.0.1:0',
    'tcp://127.0.0.1:65535',
    'tcp://[::1]:80',
    '[fe80::1%eth0]:80',
    '[::ffff:1.2.3.4]:1',
    'node-1.example:7',
    'ƒ.example:7',
    '/',
    '/run/x.sock',
    'unix:///run/x.sock',
    'unix://relative',
    'unix://@name',
    `/${'x'.repeat(106)}`,
    `unix://@${'x'.repeat(107)}`,
    'unix:///a b:c@d',
  ];
  const refused = [
    '',
    ':5000',
    'localhost',
    'localhost:',
    'localhost:x',
    '::1:5000',
    '[::1]',
    '[::1]5000',
    '[]:1',
    '[localhost]:1',
    'http://x:1',
    'tcp:///x',
    'unix://',
    'unix://@',
    'a b:1',
    'user@host:1',
    `/${'x'.repeat(107)}`,
    `unix://@${'x'.repeat(108)}`,
    'localhost:-1',
  ];
  test.each(accepted)('the grammar and the parser accept %s', (address) => {
    expect([is('pmi-port', address), 'error' in native.parseAddress(address)]).toEqual([true, false]);
  });
  test.each(refused)('the grammar and the parser refuse %j', (address) => {
    expect([is('pmi-port', address), 'error' in native.parseAddress(address)]).toEqual([false, true]);
  });
});

describe('the grammar of the identification', () => {
  test('names the messages and attributes of the message table', () => {
    const used = (name: string): string[] =>
      messageTable()
        .find((message) => message.name === name)!
        .attributes.map((attribute) => attribute.v1)
        .filter((each) => each !== '');
    const named = (rule: string): string[] =>
      [...rules.get(rule)!.matchAll(/"(\w+)=/g)].map((match) => match[1]!);
    expect(named('initack').filter((name) => name !== 'cmd')).toEqual(used('identify'));
    expect(messageTable().find(({ name }) => name === 'identify')).toMatchObject({
      v1: 'initack',
      v2: 'fullinit',
    });
    expect(used('identify-reply')).toContain(named('initack-reply').find((name) => name !== 'cmd'));
    const set = ['set-size', 'set-rank', 'set-debug'].flatMap(named).filter((name) => name !== 'cmd');
    expect(set.toSorted()).toEqual(used('identify-set').toSorted());
    const { limit } = messageTable().find(({ name }) => name === 'identify')!.attributes[0]!;
    expect(rules.get('pmi-id')).toBe(`1*${limit - 1}word-char`);
  });

  test('names the messages and attributes of PMI-2', () => {
    const used = (name: string): string[] =>
      messageTable()
        .find((message) => message.name === name)!
        .attributes.map((attribute) => attribute.v2)
        .filter((each) => each !== '');
    expect([...rules.get('fullinit')!.matchAll(/"(\w+)=/g)].map((match) => match[1])).toEqual([
      'cmd',
      'pmirank',
      'srcid',
      'pmijobid',
      'threaded',
    ]);
    expect(used('identify')).toEqual(['pmirank', 'pmijobid', 'threaded']);
    const section = text.slice(text.indexOf('## PMI-2'), text.indexOf('## Coming back'));
    for (const name of used('identify-reply').filter((each) => each !== 'errmsg'))
      expect(section).toContain(`\`${name}\``);
    expect(rules.get('pmi-id-2')).toBe(rules.get('pmi-id')!.replace('word-char', 'value-char'));
  });

  test.each(['docs/pmi-port.md', 'test/vectors/pmi-2.md'])('accepts the PMI-2 transcripts of %s', (file) => {
    const framed = (line: string): string => {
      const [, mark, sent] = /^..?([:>]) (.*)$/.exec(line)!;
      return mark === '>'
        ? `${String(sent!.length).padStart(6)}${sent}`
        : /^ *\d+ *cmd=/.test(sent!)
          ? sent!
          : `${sent}\n`;
    };
    const filled = readFileSync(join(root, file), 'utf8').replace(/\{token:\d+\}/g, '1234567890');
    let seen = 0;
    for (const [, block] of filled.matchAll(/^```(?:pmi .*transport=port.*|text)\n([^]*?)^```/gm)) {
      const lines = block!
        .split('\n')
        .filter((line) => /^[CS]0?[:>] /.test(line))
        .slice(0, 4);
      if (!lines[0]?.includes('cmd=init ') || !lines[3]?.includes('cmd=')) continue;
      expect(is('identification-2', lines.map(framed).join('')), block).toBe(true);
      seen++;
    }
    expect(seen).toBeGreaterThan(0);
  });

  test('accepts the replies of a PMI-2 server', async () => {
    await using server = await PmiServer.listen({ size: 3, address: 'tcp' });
    const sent = `cmd=fullinit;pmirank=${server.env(2).PMI_ID};`;
    const exchange = [
      'cmd=init pmi_version=2 pmi_subversion=0\n',
      `${String(sent.length).padStart(6)}${sent}`,
    ];
    const received = await new Promise<string>((resolve, reject) => {
      let bytes = '';
      const socket = connect(Number(server.address!.split(':').pop()), '127.0.0.1', () =>
        socket.write(exchange.join('')),
      );
      socket.on('error', reject).on('close', () => resolve(bytes));
      socket.on('data', (part) => (bytes += part.toString()).endsWith(';') && socket.destroy());
    });
    const [reply, ...rest] = received.split('\n');
    expect([received, is('init-2-reply', `${reply}\n`), is('accepted-2', rest.join('\n'))]).toEqual([
      received,
      true,
      true,
    ]);
  });

  test.each(['docs/pmi-port.md', 'test/vectors/handshake.md'])('accepts the transcripts of %s', (file) => {
    const filled = readFileSync(join(root, file), 'utf8').replace(/\{token:\d+\}/g, '1234567890');
    const blocks = [...filled.matchAll(/^```(?:pmi .*transport=port.*|text)\n([^]*?)^```/gm)].map(
      (block) => block[1]!,
    );
    let seen = 0;
    for (const block of blocks.filter((each) => /^C0?: cmd=initack pmiid=/m.test(each))) {
      const lines = block
        .split('\n')
        .filter((line) => /^[CS]0?: /.test(line))
        .map((line) => [line[0], line.replace(/^..?: /, '')]);
      const server = lines.filter(([side]) => side === 'S').map(([, line]) => `${line}\n`);
      if (server[0] === '[close]\n') continue;
      expect(is('initack', `${lines[0]![1]}\n`), block).toBe(true);
      expect(is('accepted', server.slice(0, 4).join('')), block).toBe(true);
      seen++;
    }
    expect(seen).toBeGreaterThan(0);
  });

  test('accepts the replies of a server', async () => {
    await using server = await PmiServer.listen({ size: 3, address: 'tcp' });
    const talk = (line: string, complete: (received: string) => boolean): Promise<string> =>
      new Promise((resolve, reject) => {
        let received = '';
        const socket = connect(Number(server.address!.split(':').pop()), '127.0.0.1', () =>
          socket.write(line),
        );
        socket.on('error', reject).on('close', () => resolve(received));
        socket.on('data', (bytes) => complete((received += bytes.toString())) && socket.destroy());
      });
    const initack = `cmd=initack pmiid=${server.env(2).PMI_ID}\n`;
    expect(is('initack', initack)).toBe(true);
    const answer = await talk(initack, (received) => received.split('\n').length > 4);
    expect([answer, is('accepted', answer)]).toEqual([answer, true]);
    const refusal = await talk('cmd=initack pmiid=0\n', () => false);
    expect(is('refused', refusal)).toBe(true);
  });

  test('accepts the requests of PmiClient and wireup-exec', async () => {
    const sent: string[] = [];
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => {
        sent.push(bytes.toString());
        socket.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await expect(PmiClient.connect({ address, id: '77' })).rejects.toMatchObject({ name: 'PmiError' });
    const shim = spawn(join(root, 'build/Release/wireup-exec'), ['true'], {
      env: { PMI_PORT: address, PMI_ID: '78' },
      stdio: 'ignore',
    });
    await new Promise((resolve) => shim.on('exit', resolve));
    server.close();
    expect(sent).toEqual(['cmd=initack pmiid=77\n', 'cmd=initack pmiid=78\n']);
    expect(sent.map((line) => is('initack', line))).toEqual([true, true]);
  });
});
