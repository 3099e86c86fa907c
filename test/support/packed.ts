/** The npm package, packed from a copy of this checkout, and a user who installs it. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isRoot } from './hostile-clients';

const checkout = join(__dirname, '../..');
/** Debian's user `nobody`, who owns no files. */
const NOBODY = 65534;

/** In milliseconds, for each step. Compiling takes minutes, and vitest cannot interrupt a synchronous call. */
export const timeout = 500_000;

export interface Packed {
  tarball: string;
  /** The size of the tarball in bytes. */
  size: number;
  /** The paths in the tarball. */
  files: string[];
}

/**
 * Packs a copy, because packing rebuilds dist/, which other tests use. Compiled files are copied too, not compiled
 * again.
 */
export function pack(folder: string): Packed {
  const copy = join(folder, 'checkout');
  const copied = ['lib', 'native', 'docs', 'dist', 'build', 'node_modules/node-addon-api', 'binding.gyp'];
  const single = ['package.json', 'tsconfig.json', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'LICENSE'];
  for (const name of [...copied, 'examples', ...single])
    cpSync(join(checkout, name), join(copy, name), { recursive: true, preserveTimestamps: true });
  for (const name of readdirSync(join(checkout, 'node_modules'))) {
    const link = join(copy, 'node_modules', name);
    if (!existsSync(link)) symlinkSync(join(checkout, 'node_modules', name), link);
  }
  const { status, stdout, stderr } = spawnSync(
    'npm',
    ['pack', '--json', '--foreground-scripts=false', '--pack-destination', folder],
    { cwd: copy, encoding: 'utf8', timeout },
  );
  expect(status, stderr).toBe(0);
  const [{ filename, size, files }] = JSON.parse(stdout) as [
    { filename: string; size: number; files: { path: string }[] },
  ];
  return { tarball: join(folder, filename), size, files: files.map(({ path }) => path) };
}

/** Makes a folder for PATH with what npm and the package need, and no compiler. */
export function makeBareBin(folder: string): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const name of ['node', 'npm', 'npx', 'sh', 'env', 'echo', 'dirname', 'readlink', 'uname']) {
    const { stdout } = spawnSync('which', [name]);
    symlinkSync(stdout.toString().trim(), join(bin, name));
  }
  return bin;
}

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A user with an empty project: another user if the tests run as root, and otherwise the same one. */
export class User {
  readonly home: string;
  readonly project: string;
  private readonly env: Record<string, string>;

  constructor(folder: string, env: Record<string, string>) {
    this.home = join(folder, 'home');
    this.project = join(this.home, 'project');
    mkdirSync(this.project, { recursive: true });
    writeFileSync(join(this.project, 'package.json'), '{ "private": true }');
    chmodSync(folder, 0o755);
    if (isRoot) spawnSync('chown', ['-R', `${NOBODY}:${NOBODY}`, this.home]);
    // npm fetches the package's only dependency once and then finds it in its cache.
    const npm = { npm_config_update_notifier: 'false', npm_config_prefer_offline: 'true' };
    this.env = { HOME: this.home, TMPDIR: this.home, ...npm, ...env };
  }

  /** Runs a command in the project. */
  try(command: string, args: string[], env: Record<string, string> = {}): Outcome {
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd: this.project,
      env: { ...this.env, ...env },
      encoding: 'utf8',
      timeout,
      ...(isRoot ? { uid: NOBODY, gid: NOBODY } : {}),
    });
    return { status, stdout, stderr };
  }

  /** Runs a command that must succeed, and returns its output. */
  run(command: string, ...args: string[]): string {
    const outcome = this.try(command, args);
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ status: 0 });
    return outcome.stdout;
  }
}
