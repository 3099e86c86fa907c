import { expect, test } from 'vitest';
import { PmiClient, PmiError, scrubEnvironment } from '../../dist/index.js';

test('scrubEnvironment removes the variables of process managers and keeps all others', () => {
  const kept = { PATH: '/bin', PMIX: 'a', MPIR_CVAR_X: '1', XPMI_FD: '2', MPI_HOME: '/opt' };
  const stale = {
    PMI_FD: '6',
    PMI_PORT: 'h:1',
    PMI_ID: '0',
    PMI_RANK: '0',
    PMI_SIZE: '1',
    PMI_SPAWNED: '1',
    PMI2_X: '',
    PMIX_RANK: '0',
    HYDI_CONTROL_FD: '7',
    MPI_LOCALRANKID: '0',
    MPI_LOCALNRANKS: '1',
  };
  expect(scrubEnvironment({ ...kept, ...stale })).toEqual(kept);
});

test('a client without PMI variables in the environment is a process group of size 1', async () => {
  await using pmi = await PmiClient.fromEnv({ env: {} });
  expect([pmi.singleton, pmi.rank, pmi.size, pmi.appnum]).toEqual([true, 0, 1, 0]);
  await pmi.put('a', '1');
  await pmi.barrier();
  expect(await pmi.get('a')).toBe('1');
  await expect(pmi.get('b')).rejects.toMatchObject({ code: 'ERR_PMI_RESULT', rc: -1 });
});

test.each([
  [{ PMI_FD: 'x', PMI_RANK: '0', PMI_SIZE: '1' }, 'ERR_PMI_ENVIRONMENT', /PMI_FD=x/],
  [{ PMI_FD: '3', PMI_SIZE: '1' }, 'ERR_PMI_ENVIRONMENT', /PMI_RANK/],
  [{ PMI_PORT: 'localhost:1' }, 'ERR_PMI_ENVIRONMENT', /PMI_ID/],
  [{ PMI_PORT: 'localhost', PMI_ID: '1' }, 'ERR_PMI_ADDRESS', /localhost/],
  [{ PMI_PORT: 'ftp://x:1', PMI_ID: '1' }, 'ERR_PMI_ADDRESS', /ftp/],
  [{ PMI_PORT: 'no-such-host.invalid:1', PMI_ID: '1' }, 'ERR_PMI_ADDRESS', /no-such-host\.invalid/],
  [{ PMI_PORT: '127.0.0.1:1', PMI_ID: '1' }, 'ERR_PMI_CONNECT', /127\.0\.0\.1:1/],
  [{ PMI_PORT: 'unix:///nowhere/at/all', PMI_ID: '1' }, 'ERR_PMI_CONNECT', /\/nowhere\/at\/all/],
  [{ PMI_FD: '987654', PMI_RANK: '0', PMI_SIZE: '1' }, 'ERR_PMI_CONNECT', /PMI_FD=987654/],
])('PmiClient.fromEnv() with %j rejects with %s', async (env, code, message) => {
  const error = await PmiClient.fromEnv({ env }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PmiError);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message) as string });
});
