// Compiles lib/ to dist/: one CommonJS bundle with an ES module in front of it (so that both kinds of importers
// share one native side), the tool, and the declarations.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const lib = dirname(fileURLToPath(import.meta.url));
const root = join(lib, '..');
const dist = join(root, 'dist');
const require = createRequire(import.meta.url);

rmSync(dist, { recursive: true, force: true });
const common = { bundle: true, platform: 'node', target: 'node20', format: 'cjs', packages: 'external', logLevel: 'warning' };
await build({ ...common, entryPoints: [join(lib, 'index.ts')], outfile: join(dist, 'index.js') });
// Loaded by `wireup bench` only, with the libraries that nothing else needs in it: who installs the package installs none
// of them.
await build({ ...common, packages: 'bundle', entryPoints: [join(lib, 'cli/bench/run.mts')], outfile: join(dist, 'bench.js'), minify: true });
await build({
  ...common,
  entryPoints: [join(lib, 'cli/main.ts')],
  outfile: join(dist, 'cli.js'),
  banner: { js: readFileSync(join(lib, 'cli/start.sh'), 'utf8').replace(/^# .*\n/gm, '').trimEnd() },
  // The tool stands on the same library file as everybody else's program.
  plugins: [
    {
      name: 'library-is-external',
      setup: (plugin) => plugin.onResolve({ filter: /^\.\.\/index$/ }, () => ({ path: './index.js', external: true })),
    },
    {
      name: 'bench-is-external',
      setup: (plugin) => plugin.onResolve({ filter: /^\.\/bench\/run\.mjs$/ }, () => ({ path: './bench.js', external: true })),
    },
  ],
});
chmodSync(join(dist, 'cli.js'), 0o755);
linkBins();
writeFileSync(join(dist, 'index.mjs'), "export * from './index.js';\n");
writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(lib, 'tsconfig.json')], { stdio: 'inherit' });

/** `npx wireup` in the checkout: without links npm would install the checkout, and so compile it anew, to have them. */
function linkBins() {
  const bins = join(root, 'node_modules/.bin');
  if (!existsSync(bins)) return;
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const [name, file] of Object.entries(bin)) {
    rmSync(join(bins, name), { force: true });
    symlinkSync(join('../..', file), join(bins, name));
  }
}
