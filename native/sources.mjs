// For binding.gyp: prints the files to compile for the given layers. Each includes up to `most` files of a layer,
// because parsing the same headers for each file takes longer than everything else. With --requests, it prints the files
// that each request of a rank passes; without, the others.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Few enough to use every core, and to keep a file fast to recompile. */
const most = 12;

const native = dirname(fileURLToPath(import.meta.url));
const folder = 'build/unity';
const sources = JSON.parse(readFileSync(join(native, 'sources.json'), 'utf8'));

/** What each request of a rank passes on its way from the socket and back. */
const ofRequests = new Set([
  'wire/codec.cpp',
  'wire/framer.cpp',
  'wire/messages.cpp',
  'engine/barrier.cpp',
  'engine/client_requests.cpp',
  'engine/client_session.cpp',
  'engine/effects.cpp',
  'engine/kvs.cpp',
  'engine/process_group.cpp',
  'engine/server_commands.cpp',
  'engine/server_session.cpp',
  'os/io_ring.cpp',
  'os/io_uring_sockets.cpp',
  'os/plain_sockets.cpp',
  'os/reactor.cpp',
  'os/socket_backend_choice.cpp',
  'os/stream.cpp',
  'runtime/client_driver.cpp',
  'runtime/server_driver.cpp',
]);

const wantsRequests = process.argv[2] === '--requests';
const layers = process.argv.slice(wantsRequests ? 3 : 2);

mkdirSync(join(native, '..', folder), { recursive: true });
for (const layer of layers) {
  const wanted = sources[layer].filter((file) => ofRequests.has(file) === wantsRequests);
  const count = Math.ceil(wanted.length / most);
  for (let i = 0; i < count; i++) {
    const files = wanted.slice(i * most, (i + 1) * most);
    const name = `${folder}/${layer}${wantsRequests ? '-requests' : ''}-${i}.cpp`;
    const path = join(native, '..', name);
    const text = files.map((file) => `#include "../../native/${file}"\n`).join('');
    if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
    console.log(name);
  }
}
