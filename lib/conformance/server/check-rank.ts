/** The checks of a server by one of its ranks. */
import {
  Findings,
  NoReply,
  NotTried,
  Transcript,
  Violation,
  type CheckObserver,
  type Finding,
} from '../finding';
import type { PmiVersion } from '../rule';
import { rulesFor } from '../rules';
import { checkEnvironment, checkPort, checkRefusals, type Place } from './probes-start';
import { probePmi1, probeDestructive } from './probes-1';
import { probePmi12 } from './probes-12';
import { probePmi2 } from './probes-2';
import { openConnection, readRoute, type RawConnection } from './raw-connection';
import { LineSession } from './session';

export interface RankOptions {
  /** The variables of the rank. */
  readonly environment: NodeJS.ProcessEnv;
  readonly version: PmiVersion;
  /** For one reply, in milliseconds. */
  readonly timeout: number;
  /** The rules whose checks may end the connection or the job. */
  readonly destructive: readonly string[];
  /** Rules whose checks have ended earlier jobs. */
  readonly skipped: readonly string[];
  readonly observer: RankObserver;
}

/** Learns of the checks of a rank as they happen, because a check may end this process. */
export interface RankObserver extends CheckObserver {
  onPlace(place: Place): void;
  onLine(line: string): void;
}

/** What one rank has found. */
export interface RankReport {
  readonly rank: number;
  readonly size: number;
  readonly version: PmiVersion;
  readonly transport: 'fd' | 'port';
  readonly findings: readonly Finding[];
  /** The rule whose check has ended the connection, so that later ones were not tried. */
  readonly lostBy?: string;
  /** There was no connection to the server. */
  readonly unreached?: true;
}

/** This process has no PMI server. */
export class NoServer extends Error {}

/**
 * Checks the server of this process. Only rank 0 reports on all rules; every rank must call it.
 *
 * @throws rejects with {@link NoServer}
 */
export async function checkAsRank(options: RankOptions): Promise<RankReport> {
  const { environment, observer } = options;
  const route = readRoute(environment);
  if (route === undefined) throw new NoServer('neither PMI_FD nor PMI_PORT is set');
  const transcript = new Transcript((line) => observer.onLine(line));
  const findings = new Findings(transcript, observer, options.skipped);
  let place: Place = { rank: Number(environment.PMI_RANK ?? 0), size: Number(environment.PMI_SIZE ?? 1) };
  if (route.kind === 'fd') observer.onPlace(place);
  let connection: RawConnection | undefined;
  try {
    await checkEnvironment(findings, route, environment);
    connection = await openConnection(route, transcript);
    const session = new LineSession(connection, transcript, options.timeout);
    if (route.kind === 'port' && options.version !== '2') {
      const found = await checkPort(findings, session, route);
      if (found === undefined) throw new NotTried('the server has not accepted this rank');
      place = found;
      observer.onPlace(place);
    }
    let kvsname: string | undefined;
    if (options.version === '1.1') kvsname = await probePmi1(findings, session, place);
    else if (options.version === '1.2') await probePmi12(findings, session, place);
    else place = await probePmi2(findings, session, { place, route, environment });
    if (place.rank === 0) {
      await checkRefusals(findings, session, route, options.destructive);
      if (options.version === '1.1' && options.destructive.length > 0)
        await probeDestructive(findings, session, kvsname, options.destructive);
    }
    if (options.version === '1.1') await finish(findings, session, options);
  } catch (error) {
    if (!(error instanceof NoReply || error instanceof NotTried || error instanceof Violation)) throw error;
    // The rules that need what has failed are reported as not tried.
    findings.add({ rule: START, status: 'not-tried', reason: error.message });
  } finally {
    connection?.close();
  }
  return {
    ...place,
    version: options.version,
    transport: route.kind,
    findings: complete(findings.list, options),
    ...(findings.lostBy === undefined ? {} : { lostBy: findings.lostBy }),
    ...(connection === undefined ? { unreached: true } : {}),
  };
}

/** Not a rule: carries why the checks ended early. */
const START = '';

/** Ends PMI-1. After a destructive check there may be nothing left to end. */
async function finish(findings: Findings, session: LineSession, options: RankOptions): Promise<void> {
  if (options.destructive.length > 0 && session.connection.ended !== undefined) return;
  await findings.check('P1-FINALIZE-1', [], async () => {
    await session.succeed('cmd=finalize', 'finalize_ack');
  });
}

/** Adds the rules of this version that no check has reached. */
function complete(findings: readonly Finding[], { version, destructive }: RankOptions): Finding[] {
  const reason = findings.find(({ rule }) => rule === START)?.reason ?? 'the checks ended before it';
  const known = new Map(findings.map((finding) => [finding.rule, finding]));
  return rulesFor('server').flatMap((rule): Finding[] => {
    const finding = known.get(rule.id);
    if (finding !== undefined) return [finding];
    if (rule.version !== undefined && rule.version !== version) return [];
    const unasked = rule.destructive === true && !destructive.includes(rule.id);
    return [{ rule: rule.id, status: 'not-tried', reason: unasked ? 'only by --destructive' : reason }];
  });
}
