// The clang-tidy step. It leaves out the tests, whose defects show when they run.
//
// clang-tidy takes ten times as long for the headers of the standard library as for the code of this project. So it
// reads one file with the text of many, and the line numbers that it reports are mapped back to their files.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { out, root } from './report.mjs';

/**
 * The pieces that clang-tidy reads, as layers of native/sources.json. A piece may hold several programs, but no name twice.
 */
const pieces = {
  core: ['wire', 'engine', 'os', 'runtime', 'client', 'agent', 'exec', 'libpmi', 'bench', 'bench_client'],
  libpmi2: ['libpmi2'],
  start: ['start'],
  tap: ['tap'],
  addon: ['addon'],
};
/** Layers that are not read: glibc defines functions of the C library, in its way. */
const unread = ['glibc'];

/** Node's own headers: beside the running node, or where node-gyp has put them. */
const nodeHeaders = [
  join(dirname(process.execPath), '../include/node'),
  join(homedir(), '.cache/node-gyp', process.versions.node, 'include/node'),
];

const flags = [
  '-std=c++20',
  '-Wall',
  '-Wextra',
  ...['native', 'native/tools/libpmi/include'].map((folder) => `-I${join(root, folder)}`),
  ...['node_modules/node-addon-api', ...nodeHeaders].map((folder) => `-isystem${resolve(root, folder)}`),
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  '-DWIREUP_VERSION=""',
];

/** The files of each piece, for each of its programs: lists of lists. */
function programs(thorough) {
  const sources = JSON.parse(readFileSync(join(root, 'native/sources.json'), 'utf8'));
  const known = [...Object.values(pieces).flat(), ...unread];
  const unknown = Object.keys(sources).filter((layer) => !known.includes(layer));
  if (unknown.length > 0) throw new Error(`test/run/clang-tidy.mjs knows no ${unknown.join(', ')}`);
  const filesOf = (layer) => sources[layer].map((file) => join('native', file));
  if (!thorough) return Object.entries(pieces).map(([name, layers]) => [name, layers.map(filesOf)]);
  return Object.values(pieces).flatMap((layers) => layers.map((layer) => [layer, [filesOf(layer)]]));
}

/** Writes the file of a piece. Returns its path, and for each of its lines the original file and line. */
function write(name, lists) {
  const lines = [];
  const places = [];
  const add = (line, place) => {
    lines.push(line);
    places.push(place);
  };
  for (const [i, files] of lists.entries()) {
    add(`#define main main_of_${i}`, name);
    for (const file of files)
      for (const [number, line] of readFileSync(join(root, file), 'utf8').split('\n').entries())
        add(line, `${file}:${number + 1}`);
    add('#undef main', name);
  }
  const path = join(out, 'lint', `${name}.cpp`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, lines.join('\n'));
  return { path, places };
}

/**
 * @param thorough also runs the analyzer, which follows the paths through functions and takes minutes
 * @param command the `command` of the step
 */
export async function clangTidy(thorough, command) {
  const checks = thorough ? [] : ['--checks=-clang-analyzer-*'];
  const mapped = programs(thorough).map(([name, lists]) => ({ name, ...write(name, lists) }));
  const failed = [];
  for (const { name, path, places } of mapped) {
    const words = ['--quiet', ...checks, `--config-file=${join(root, '.clang-tidy')}`];
    const code = await command(
      'clang-tidy',
      [...words, `--header-filter=^${root}/native/`, path, '--', ...flags],
      {
        quiet: true,
        mayFail: true,
        rewrite: (text) =>
          text
            .replaceAll(new RegExp(`${path}:(\\d+)`, 'g'), (_, line) => places[line - 1])
            .replaceAll(`${root}/`, ''),
      },
    );
    if (code !== 0) failed.push(name);
  }
  if (failed.length > 0) throw new Error(`clang-tidy found something in ${failed.join(', ')}`);
}
