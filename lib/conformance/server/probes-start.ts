/** The checks before init: the environment, and the handshake of PMI_PORT. */
import { NotTried, Violation, type Findings } from '../finding';
import { isUnsigned, parseLine } from '../wire';
import { openConnection, type Route } from './raw-connection';
import { isError, type LineSession } from './session';

export interface Place {
  readonly rank: number;
  readonly size: number;
}

export async function checkEnvironment(
  findings: Findings,
  route: Route,
  environment: NodeJS.ProcessEnv,
): Promise<void> {
  const shown = (...names: string[]): string[] =>
    names.map((name) => `${name}=${environment[name] ?? '(not set)'}`);
  if (route.kind === 'fd') {
    await findings.check('ENV-1', [], async () => {
      const { PMI_RANK: rank, PMI_SIZE: size } = environment;
      if (
        !isUnsigned(environment.PMI_FD) ||
        !isUnsigned(rank) ||
        !isUnsigned(size) ||
        Number(rank) >= Number(size)
      )
        throw new Violation('not a descriptor, a rank and a size', shown('PMI_FD', 'PMI_RANK', 'PMI_SIZE'));
    });
  } else {
    notTried(findings, 'the server is reached by PMI_PORT', 'ENV-1');
    await findings.check('PORT-ENV-1', [], async () => {
      if (route.id === undefined) throw new Violation('PMI_ID is not set', shown('PMI_PORT'));
    });
    await findings.check('PORT-ENV-2', [], async () => {
      const { address } = route;
      if (address.startsWith('unix:') || address.startsWith('/')) throw new NotTried('it is a unix address');
      if (!/^[^:/]+:\d+$/.test(address)) throw new Violation('not host:port', shown('PMI_PORT'));
    });
  }
  await findings.check('ENV-2', [], async () => {
    const { PMI_SPAWNED: spawned } = environment;
    // This process was not spawned by a rank: `wireup check` starts no rank that checks.
    if (spawned !== undefined && spawned !== '0') throw new Violation('it is set', shown('PMI_SPAWNED'));
  });
  if (route.kind === 'fd')
    notTried(
      findings,
      'the server is reached by PMI_FD',
      ...[
        'PORT-ENV-1',
        'PORT-ENV-2',
        'PORT-ACK-1',
        'PORT-ACK-2',
        'PORT-ACK-3',
        'PORT-REFUSE-1',
        'PORT-REFUSE-2',
      ],
    );
}

function notTried(findings: Findings, reason: string, ...rules: string[]): void {
  for (const rule of rules) findings.add({ rule, status: 'not-tried', reason });
}

/** Identifies this rank to the server. Undefined: the server has not accepted it. */
export async function checkPort(
  findings: Findings,
  session: LineSession,
  { id = '0' }: Route & { kind: 'port' },
): Promise<Place | undefined> {
  let place: Place | undefined;
  await findings.check('PORT-ACK-1', [], async () => {
    await session.succeed(`cmd=initack pmiid=${id}`, 'initack');
  });
  await findings.check('PORT-ACK-2', ['PORT-ACK-1'], async () => {
    const values: number[] = [];
    for (const name of ['size', 'rank', 'debug']) {
      const { attributes } = session.expect(await session.receive(), 'set');
      const value = attributes.get(name);
      if (!isUnsigned(value)) throw new Violation(`expected cmd=set ${name}=`);
      values.push(Number(value));
    }
    place = { size: values[0]!, rank: values[1]! };
  });
  await findings.check('PORT-ACK-3', ['PORT-ACK-2'], async () => {
    if (place!.rank >= place!.size) throw new Violation(`rank ${place!.rank} of ${place!.size}`);
  });
  return place;
}

/** How long a server may take to refuse a client that it lets wait, in milliseconds. */
const REFUSAL_WAIT = 1000;

/** Further connections that the server should refuse. */
export async function checkRefusals(
  findings: Findings,
  session: LineSession,
  route: Route,
  destructive: readonly string[],
): Promise<void> {
  if (route.kind !== 'port') return;
  const { transcript } = session;
  const attempts: readonly [rule: string, line: string][] = [
    ['PORT-REFUSE-1', 'cmd=get_maxes'],
    ['PORT-REFUSE-2', `cmd=initack pmiid=${route.id}`],
  ];
  for (const [rule, line] of attempts) {
    if (!destructive.includes(rule)) continue;
    await findings.check(rule, [], async () => {
      const connection = await openConnection(route, transcript);
      transcript.add('C', line);
      connection.write(`${line}\n`);
      await connection.changed(REFUSAL_WAIT);
      const reply = connection.takeUnread().split('\n')[0]!;
      connection.close();
      if (reply !== '') {
        transcript.add('S', reply);
        const message = parseLine(reply);
        if (message.command === 'initack' && !isError(message))
          throw new Violation('the server accepts the client');
      }
      // The connection of this rank is not affected.
      await session.succeed('cmd=get_maxes', 'maxes');
    });
  }
}
