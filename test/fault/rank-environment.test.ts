// The fds, the signals and the environment that a rank starts with.

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;
const outputs: [string, string[]][] = [
  ['inherited output', []],
  ['labelled output', ['-l']],
];

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`the fds of a rank${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(outputs)(
      'are, with %s, stdin, stdout, stderr, PMI_FD and those that the wireup command inherited',
      async (_, options) => {
        const alone = await run([program('list_fds')], { environment: { PMI_RANK: '0' } });
        const given = [...alone.stdout.matchAll(/ fd (\d+) /g)].map(([, fd]) => fd!);
        const result = await run(wireupRun(ranks, transport, ...options, program('list_fds')));
        expect(result).toMatchObject({ code: 0, stderr: '' });
        const output = lines(result.stdout).map((line) => {
          if (options.length === 0) return line;
          const [, label, text] = /^\[(\d+)\] (.*)$/.exec(line) ?? [];
          expect(text, line).toMatch(new RegExp(`^rank ${label} `));
          return text;
        });
        for (let rank = 0; rank < ranks; ++rank) {
          const pmiFd = output.find((line) => line?.startsWith(`rank ${rank} PMI_FD `))?.split(' ')[3];
          const open = output.flatMap((line) => {
            const match = new RegExp(`^rank ${rank} fd (\\d+) -> (.*)$`).exec(line ?? '');
            return match === null ? [] : [[match[1], match[2]] as const];
          });
          const expected = [...given];
          // Over TCP, the program connects by itself.
          if (transport === 'tcp') expect(pmiFd).toBe('none');
          else expected.push(pmiFd ?? 'no PMI_FD');
          expect(open.map(([fd]) => fd).sort(), `rank ${rank}:\n${result.stdout}`).toEqual(expected.sort());
          // Only rank 0 reads the stdin of the command.
          if (rank > 0) expect(new Map(open).get('0')).toBe('/dev/null');
          if (pmiFd !== undefined && pmiFd !== 'none') expect(new Map(open).get(pmiFd)).toMatch(/^socket:/);
        }
      },
    );
  });
});

// The signal sets in /proc have one bit for each signal: 1 << (number - 1).
function signalSet(output: string, name: string): bigint[] {
  return [...output.matchAll(new RegExp(`${name}:\\s*([0-9a-f]+)`, 'g'))].map((match) =>
    BigInt(`0x${match[1]}`),
  );
}

const nohup = needs('cc', 'nohup');
describe.skipIf(nohup.missing)(`the signals of a rank${nohup.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(outputs)('have, with %s, the default action, and none is blocked', async (_, options) => {
      const result = await run(wireupRun(ranks, transport, ...options, program('show_signals')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(signalSet(result.stdout, 'SigIgn')).toEqual(Array(ranks).fill(0n));
      expect(signalSet(result.stdout, 'SigBlk')).toEqual(Array(ranks).fill(0n));
    });

    it('are all default under nohup except SIGHUP, which is ignored', async () => {
      const result = await run([installed('nohup'), ...wireupRun(ranks, transport, program('show_signals'))]);
      expect(result.code).toBe(0);
      const hangUp = 1n;
      expect(signalSet(result.stdout, 'SigIgn')).toEqual(Array(ranks).fill(hangUp));
      expect(signalSet(result.stdout, 'SigBlk')).toEqual(Array(ranks).fill(0n));
    });
  });
});

describe('the environment of a rank', () => {
  // The shell script that starts Node saves some variables from it.
  const tool = wireupRun(ranks, 'fd', '-genv', 'MARK', '1', 'env');
  const environmentOf = async (environment: Record<string, string>): Promise<string[]> => {
    const result = await run(tool, { environment });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return lines(result.stdout);
  };

  it.each(['/no/such/file', ''])('has NODE_EXTRA_CA_CERTS=%s as the caller set it', async (certificates) => {
    expect(
      (await environmentOf({ NODE_EXTRA_CA_CERTS: certificates })).filter((line) =>
        line.startsWith('NODE_EXTRA_CA_CERTS='),
      ),
    ).toEqual(Array(ranks).fill(`NODE_EXTRA_CA_CERTS=${certificates}`));
  });

  it('has none of the variables that the wireup command uses internally', async () => {
    for (const variables of [
      await environmentOf({}),
      await environmentOf({ NODE_EXTRA_CA_CERTS: '/no/such/file' }),
    ]) {
      expect(variables.filter((line) => line === 'MARK=1')).toHaveLength(ranks);
      expect(variables.filter((line) => line.startsWith('WIREUP_'))).toEqual([]);
    }
  });
});
