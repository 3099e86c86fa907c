/** The action of `wireup check`. */
import { join } from 'node:path';
import { checkClient } from '../../conformance/client/check-client';
import { breaksMust, type Finding } from '../../conformance/finding';
import { format, type Format } from '../../conformance/report';
import { checkAsRank, NoServer, type RankObserver } from '../../conformance/server/check-rank';
import { Journal } from '../../conformance/server/journal';
import { checkLaunched } from '../../conformance/server/launched';
import type { ClientValues, ServerValues } from '../check';
import { print, reportUsage } from '../report';

function formatOf({ tap, json }: { tap: boolean; json: boolean }): Format {
  return json ? 'json' : tap ? 'tap' : 'table';
}

const transports = { fd: 'PMI_FD', port: 'PMI_PORT' } as const;

function ranks(size: number): string {
  return size === 1 ? '1 rank' : `${size} ranks`;
}

function finish(
  subject: string,
  findings: readonly Finding[],
  options: { tap: boolean; json: boolean },
): void {
  print(format({ subject, findings }, formatOf(options)));
  if (breaksMust(findings)) process.exitCode = 1;
}

export async function checkServer(launcher: readonly string[], options: ServerValues): Promise<void> {
  const { timeout } = options;
  const destructive = options.destructive ?? [];
  if (launcher.length > 0) {
    const { findings, size, transport } = await checkLaunched({
      version: options.pmiVersion,
      timeout,
      destructive,
      launcher,
      self: [process.execPath, join(__dirname, 'cli.js')],
      onOutput: (text) => void process.stderr.write(text),
    });
    return finish(
      `Server of ${launcher.join(' ')}${transport === undefined ? '' : `, ${transports[transport]}`}${size === undefined ? '' : `, ${ranks(size)}`}`,
      findings,
      options,
    );
  }
  const { journal: folder, skip = '' } = options;
  const version = options.pmiVersion ?? '1.1';
  const journal = folder === undefined ? undefined : new Journal(folder, print);
  try {
    const report = await checkAsRank({
      environment: process.env,
      version,
      timeout,
      destructive,
      skipped: skip.split(','),
      observer: journal ?? unobserved,
    });
    // The other ranks may wait for this one, so the launcher should end them.
    if (report.lostBy !== undefined || report.unreached === true) process.exitCode = 1;
    if (journal !== undefined) return journal.end(report);
    if (report.rank !== 0) return;
    const { transport, size, findings } = report;
    finish(`Server: PMI-${version} over ${transports[transport]}, ${ranks(size)}`, findings, options);
  } catch (error) {
    if (!(error instanceof NoServer)) throw error;
    reportUsage(
      `${error.message}: start it as the ranks of a launcher, such as \`wireup check server -- mpiexec -n 4\``,
    );
  }
}

const unobserved: RankObserver = {
  onPlace: () => undefined,
  onBegin: () => undefined,
  onLine: () => undefined,
  onFinding: () => undefined,
};

export async function checkProgram(program: readonly string[], options: ClientValues): Promise<void> {
  const { ranks: size, pmi: transport, timeout } = options;
  const { version, findings } = await checkClient({ program, size, transport, timeout });
  const speaks = version === undefined ? '' : `, PMI-${version}`;
  const subject = `Client ${program.join(' ')}${speaks} over ${transports[transport === 'fd' ? 'fd' : 'port']}, ${ranks(size)}`;
  finish(subject, findings, options);
}
