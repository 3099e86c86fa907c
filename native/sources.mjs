// For binding.gyp: prints the files to compile for the given layers. Each includes up to `most` files of a layer,
// because parsing the same headers for each file takes longer than everything else.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Few enough to use every core, and to keep a file fast to recompile. */
const most = 12;

const native = dirname(fileURLToPath(import.meta.url));
const folder = 'build/unity';
const sources = JSON.parse(readFileSync(join(native, 'sources.json'), 'utf8'));

mkdirSync(join(native, '..', folder), { recursive: true });
for (const layer of process.argv.slice(2)) {
  const count = Math.ceil(sources[layer].length / most);
  for (let i = 0; i < count; i++) {
    const files = sources[layer].slice(i * most, (i + 1) * most);
    const name = `${folder}/${layer}-${i}.cpp`;
    const path = join(native, '..', name);
    const text = files.map((file) => `#include "../../native/${file}"\n`).join('');
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
    console.log(name);
  }
}
