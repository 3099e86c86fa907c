// `npm run lint`: format, style, defects that tools find, spelling. `npm test` has the same steps.
//
//   node test/lint.mjs           the checks of `npm test`
//   node test/lint.mjs --all     also clang-tidy's analyzer, which takes many minutes
//   node test/lint.mjs --write   formats all files in place (`npm run format`)
import { parseArgs } from 'node:util';
import { format, lint } from './run/lint.mjs';
import { count, step } from './run/report.mjs';

const { values } = parseArgs({
  options: { all: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
});
if (values.write) await step('format', (command) => format(true, command));
else await lint(values.all, []);
process.exit(count.failed === 0 ? 0 : 1);
