// For binding.gyp: prints the files to compile for the layers named. Each includes up to `most` of a layer's files, since
// reading the same headers anew for each takes longer than all the rest.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** So that every core has something to do, and a file is not long to compile again. */
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
