/** `wireup report`: draws the timeline of a result. */
import type { Command } from 'commander';
import { InvalidValue, UsageError } from './option';
import { fail, report } from './report';
import { readResult, timelineFile, writeTimeline } from './timeline';

export function addReport(program: Command): void {
  program
    .command('report')
    .description('draw a timeline of the result that wireup run --result has written')
    .argument('<result>', 'the file of --result')
    .argument(
      '[file]',
      'where to write: a name that ends with .html, .svg, or .json (for Perfetto). Default: the name of the result with .html',
    )
    .addHelpText(
      'after',
      `
wireup run --timeline FILE writes the same, and with --trace-file also the PMI messages.

Examples:
  wireup run -n 64 --result job.json ./a.out
  wireup report job.json
  wireup report job.json job.svg`,
    )
    .action(async (file: string, target?: string) => {
      try {
        const to = checked(target ?? `${file.replace(/\.json$/, '')}.html`);
        const fault = await writeTimeline(to, readResult(file));
        if (fault === undefined) return;
        report(`${to}: ${fault}`);
        process.exitCode = 1;
      } catch (error) {
        fail(error);
      }
    });
}

function checked(file: string): string {
  try {
    return timelineFile(file);
  } catch (error) {
    if (error instanceof InvalidValue) throw new UsageError(`${file}: ${error.message}`);
    throw error;
  }
}
