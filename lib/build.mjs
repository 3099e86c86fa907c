// Compiles lib/ to dist/: one CommonJS bundle with an ES module in front of it (so that both kinds of importers
// share one native side), the tool, and the declarations.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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
// The tool and, loaded by `wireup bench` only, a file of its own for that. Their libraries are in them: one file is read
// faster than many, and who installs the package installs none of them.
const bundled = { ...common, packages: 'bundle', metafile: true };
const bench = await build({ ...bundled, entryPoints: [join(lib, 'cli/bench/run.mts')], outfile: join(dist, 'bench.js'), minify: true });
const tool = await build({
  ...bundled,
  minifySyntax: true,
  minifyWhitespace: true,
  entryPoints: [join(lib, 'cli/main.ts')],
  outfile: join(dist, 'cli.js'),
  banner: { js: readFileSync(join(lib, 'cli/start.sh'), 'utf8').replace(/^# .*\n/gm, '').trimEnd() },
  // The tool stands on the same library file as everybody else's program.
  plugins: [
    {
      // It costs a tenth of the tool's start, and is for subcommands that are programs, of which there are none.
      name: 'commander-starts-no-programs',
      setup: (plugin) => {
        plugin.onResolve({ filter: /^node:child_process$/ }, () => ({ path: 'child_process', namespace: 'empty' }));
        plugin.onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: '' }));
      },
    },
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
writeFileSync(join(dist, 'licenses.txt'), licensesOf([tool, bench]));
chmodSync(join(dist, 'cli.js'), 0o755);
linkBins();
writeFileSync(join(dist, 'index.mjs'), "export * from './index.js';\n");
writeFileSync(join(dist, 'index.d.mts'), "export * from './index.js';\n");
execFileSync(process.execPath, [require.resolve('typescript/bin/tsc'), '-p', join(lib, 'tsconfig.json')], { stdio: 'inherit' });

/** What the licences of the bundled libraries ask for. */
function licensesOf(results) {
  const files = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  const packages = new Set(files.flatMap((file) => /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? []));
  const texts = [...packages].sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const found = readdirSync(folder).filter((file) => /^(licen[cs]e|notice)(-\w+)?(\.(md|txt))?$/i.test(file));
    if (found.length === 0) throw new Error(`${name} is bundled and has no licence file`);
    return [`${name} ${version} (${license})`, ...found.map((file) => readFileSync(join(folder, file), 'utf8'))].join('\n\n');
  });
  return texts.join(`\n${'-'.repeat(100)}\n\n`);
}

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
