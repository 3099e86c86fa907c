// Compiles lib/ to dist/: one CommonJS bundle with an ES module in front of it (so that both kinds of importers share
// one native addon), the command, and the declarations.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { writeCode } from '../native/write-code.mjs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const lib = dirname(fileURLToPath(import.meta.url));
const root = join(lib, '..');
const dist = join(root, 'dist');
const require = createRequire(import.meta.url);
const { bin: bins } = require('../package.json');
const starter = join(root, 'build/Release/wireup-start');
const packs =
  process.env.npm_lifecycle_event === 'prepare' && ['pack', 'publish'].includes(process.env.npm_command);

rmSync(dist, { recursive: true, force: true });
const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  packages: 'external',
  logLevel: 'warning',
};
await build({ ...common, entryPoints: [join(lib, 'index.ts')], outfile: join(dist, 'index.js') });
// The command's files include their libraries: one file loads faster than many, and users of the package need not
// install the libraries.
const bundled = { ...common, packages: 'bundle', metafile: true, minifySyntax: true, minifyWhitespace: true };
/** Leaves imports of `filter` out of the bundle. They load dist/`file`. */
const apart = (filter, file) => ({
  name: `${file}-is-apart`,
  setup: (plugin) => plugin.onResolve({ filter }, () => ({ path: `./${file}`, external: true })),
});
const withoutChildProcess = {
  // Loading it takes a tenth of the command's start. Only subcommands that are programs need it, and there are none.
  name: 'commander-starts-no-programs',
  setup: (plugin) => {
    plugin.onResolve({ filter: /^node:child_process$/ }, () => ({
      path: 'child_process',
      namespace: 'empty',
    }));
    plugin.onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: '' }));
  },
};
await build({
  ...bundled,
  entryPoints: [join(lib, 'cli/main.ts')],
  outfile: join(dist, 'cli.js'),
  plugins: [apart(/^\.\/run$/, 'run.js'), apart(/^\.\/commands$/, 'commands.js')],
});
/** Takes modules that lib/cli/shared.ts names from dist/run.js. */
const fromRun = {
  name: 'shared-with-run',
  setup: (plugin) => {
    plugin.onResolve({ filter: /^\.\/run\.js$/ }, ({ path }) => ({ path, external: true }));
    plugin.onResolve(
      { filter: /^\.\/(host-list|host-placement|launchers|limits|native|options)$/ },
      ({ path }) => ({ path, namespace: 'run' }),
    );
    plugin.onLoad({ filter: /.*/, namespace: 'run' }, ({ path }) => {
      const name = path.slice(2).replace(/-./g, ([, letter]) => letter.toUpperCase());
      return { contents: `module.exports = require('./run.js').shared.${name}` };
    });
  },
};
// The bundle includes the parts of the library that `run` uses. Other commands load the whole library.
const run = await build({
  ...bundled,
  // require() in its place: import() first loads Node's module loader, which takes as long as starting Node.
  supported: { 'dynamic-import': false },
  entryPoints: [join(lib, 'cli/run.ts')],
  outfile: join(dist, 'run.js'),
  plugins: [
    apart(/^\.\/run-help$/, 'run-help.js'),
    apart(/^\.\/launch-hosts\.js$/, 'run-hosts.js'),
    apart(/^\.\.\/timeline\/write$/, 'timeline.js'),
    apart(/^\.\/metrics-server$/, 'metrics.js'),
  ],
});
// Only a job over hosts needs it.
await build({
  ...bundled,
  entryPoints: [join(lib, 'launch-hosts.ts')],
  outfile: join(dist, 'run-hosts.js'),
  plugins: [fromRun],
});
// Only --timeline and `wireup report` need it.
const timeline = await build({
  ...bundled,
  entryPoints: [join(lib, 'timeline/write.ts')],
  outfile: join(dist, 'timeline.js'),
});
// Only a help text or an unknown option needs commander.
const runHelp = await build({
  ...bundled,
  entryPoints: [join(lib, 'cli/run-help.ts')],
  outfile: join(dist, 'run-help.js'),
  plugins: [withoutChildProcess],
});
const ofCommands = {
  ...bundled,
  plugins: [
    withoutChildProcess,
    apart(/^\.\.\/index$/, 'index.js'),
    apart(/^\.\/bench\/run\.mjs$/, 'bench.js'),
    apart(/^\.\/check\/run$/, 'check.js'),
    apart(/^\.\.\/timeline\/write$/, 'timeline.js'),
    apart(/^\.\/metrics-server$/, 'metrics.js'),
  ],
};
const commands = await build({
  ...ofCommands,
  entryPoints: [join(lib, 'cli/commands.ts')],
  outfile: join(dist, 'commands.js'),
});
const bench = await build({
  ...bundled,
  minify: true,
  entryPoints: [join(lib, 'cli/bench/run.mts')],
  outfile: join(dist, 'bench.js'),
});
const check = await build({
  ...bundled,
  entryPoints: [join(lib, 'cli/check/run.ts')],
  outfile: join(dist, 'check.js'),
});
// Only --metrics needs it.
const metrics = await build({
  ...bundled,
  entryPoints: [join(lib, 'cli/metrics-server.ts')],
  outfile: join(dist, 'metrics.js'),
});
await writeManPages();
writeFileSync(
  join(dist, 'licenses.txt'),
  licensesOf([run, timeline, runHelp, commands, bench, check, metrics]),
);
placeCommands();
linkBins();
await build({
  ...common,
  entryPoints: [join(lib, 'cli/write-code.ts')],
  outfile: join(dist, 'write-code.js'),
});
writeFileSync(join(dist, 'index.mjs'), "export * from './index.js';\n");
writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(lib, 'tsconfig.json')], {
  stdio: 'inherit',
});
if (!packs && existsSync(starter)) writeCode();

/** Writes the manual pages, by a bundle that only the build needs. */
async function writeManPages() {
  const outfile = join(dist, 'man.js');
  await build({ ...ofCommands, entryPoints: [join(lib, 'cli/man.ts')], outfile });
  require(outfile).writeManPages(join(dist, 'man'));
  rmSync(outfile);
}

/**
 * Places the files to which package managers link the commands: the starter, if it is built. The package is packed with
 * a stub, because npm links only files that exist before the install script runs, which replaces the stub by the
 * starter. Each command has a file of its own, because the links that pnpm makes do not pass on their name.
 */
function placeCommands() {
  for (const file of Object.values(bins)) {
    copyFileSync(packs || !existsSync(starter) ? join(lib, 'cli/stub') : starter, join(root, file));
    chmodSync(join(root, file), 0o755);
  }
}

/** The texts that the licences of the bundled libraries require. */
function licensesOf(results) {
  const files = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const packages = new Set(
    files.flatMap((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []),
  );
  const texts = [...packages].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const found = readdirSync(folder).filter((file) =>
      /^(licen[cs]e|notice)(-\w+)?(\.(md|txt))?$/i.test(file),
    );
    if (found.length === 0) throw new Error(`${name} is bundled and has no licence file`);
    return [
      `${name} ${version} (${license})`,
      ...found.map((file) => readFileSync(join(folder, file), 'utf8')),
    ].join('\n\n');
  });
  return texts.join(`\n${'-'.repeat(100)}\n\n`);
}

/** For `npx wireup` in the checkout. Without these links npm would install, and so compile, the checkout to make them. */
function linkBins() {
  const links = join(root, 'node_modules/.bin');
  if (!existsSync(links)) return;
  for (const [name, file] of Object.entries(bins)) {
    rmSync(join(links, name), { force: true });
    symlinkSync(join('../..', file), join(links, name));
  }
}
