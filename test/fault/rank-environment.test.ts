// What a rank is born with: its fds and its signals.

import { describe, expect, it, vi } from 'vitest';

import { needs, installed } from '../support/installed';
import { program } from '../support/programs';
import { lines, run, transports, wireupRun } from '../support/run';

vi.setConfig({ testTimeout: 45_000 });

const ranks = 3;
const outputs: [string, string[]][] = [
  ['output inherited', []],
  ['output labelled', ['-l']],
];

const compiler = needs('cc');
describe.skipIf(compiler.missing)(`fds${compiler.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(outputs)(
      '%s: stdin, stdout, stderr, PMI_FD and what the tool was given itself, no more',
      async (_, options) => {
        const alone = await run([program('list_fds')], { environment: { PMI_RANK: '0' } });
        const given = [...alone.stdout.matchAll(/ fd (\d+) /g)].map(([, fd]) => fd!);
        const result = await run(wireupRun(ranks, transport, ...options, program('list_fds')));
        expect(result).toMatchObject({ code: 0, stderr: '' });
        const said = lines(result.stdout).map((line) => {
          if (options.length === 0) return line;
          const [, label, text] = /^\[(\d+)\] (.*)$/.exec(line) ?? [];
          expect(text, line).toMatch(new RegExp(`^rank ${label} `));
          return text;
        });
        for (let rank = 0; rank < ranks; ++rank) {
          const pmiFd = said.find((line) => line?.startsWith(`rank ${rank} PMI_FD `))?.split(' ')[3];
          const open = said.flatMap((line) => {
            const match = new RegExp(`^rank ${rank} fd (\\d+) -> (.*)$`).exec(line ?? '');
            return match === null ? [] : [[match[1], match[2]] as const];
          });
          const expected = [...given];
          // Over TCP the program connects by itself.
          if (transport === 'tcp') expect(pmiFd).toBe('none');
          else expected.push(pmiFd ?? 'no PMI_FD');
          expect(open.map(([fd]) => fd).sort(), `rank ${rank}:\n${result.stdout}`).toEqual(expected.sort());
          // Rank 0 reads what the tool reads; nobody else does.
          if (rank > 0) expect(new Map(open).get('0')).toBe('/dev/null');
          if (pmiFd !== undefined && pmiFd !== 'none') expect(new Map(open).get(pmiFd)).toMatch(/^socket:/);
        }
      },
    );
  });
});

// The set that /proc shows, as a bit for each signal: 1 << (number - 1).
function signalSet(output: string, name: string): bigint[] {
  return [...output.matchAll(new RegExp(`${name}:\\s*([0-9a-f]+)`, 'g'))].map((match) =>
    BigInt(`0x${match[1]}`),
  );
}

const nohup = needs('cc', 'nohup');
describe.skipIf(nohup.missing)(`signals${nohup.note}`, () => {
  describe.each(transports)('--pmi %s', (transport) => {
    it.each(outputs)('%s: every signal is default and none is blocked', async (_, options) => {
      const result = await run(wireupRun(ranks, transport, ...options, program('show_signals')));
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(signalSet(result.stdout, 'SigIgn')).toEqual(Array(ranks).fill(0n));
      expect(signalSet(result.stdout, 'SigBlk')).toEqual(Array(ranks).fill(0n));
    });

    it('under nohup: SIGHUP is ignored, and none but that', async () => {
      const result = await run([installed('nohup'), ...wireupRun(ranks, transport, program('show_signals'))]);
      expect(result.code).toBe(0);
      const hangUp = 1n;
      expect(signalSet(result.stdout, 'SigIgn')).toEqual(Array(ranks).fill(hangUp));
      expect(signalSet(result.stdout, 'SigBlk')).toEqual(Array(ranks).fill(0n));
    });
  });
});

describe('environment', () => {
  // The starter keeps some of it from Node.
  const tool = wireupRun(ranks, 'fd', '-genv', 'MARK', '1', 'env');
  const told = async (environment: Record<string, string>): Promise<string[]> => {
    const result = await run(tool, { environment });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    return lines(result.stdout);
  };

  it.each(['/no/such/file', ''])('NODE_EXTRA_CA_CERTS=%s is what it was', async (certificates) => {
    expect(
      (await told({ NODE_EXTRA_CA_CERTS: certificates })).filter((line) =>
        line.startsWith('NODE_EXTRA_CA_CERTS='),
      ),
    ).toEqual(Array(ranks).fill(`NODE_EXTRA_CA_CERTS=${certificates}`));
  });

  it('of what the tool noted for itself nothing is there', async () => {
    for (const variables of [await told({}), await told({ NODE_EXTRA_CA_CERTS: '/no/such/file' })]) {
      expect(variables.filter((line) => line === 'MARK=1')).toHaveLength(ranks);
      expect(variables.filter((line) => line.startsWith('WIREUP_'))).toEqual([]);
    }
  });
});
