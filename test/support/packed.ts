/** The package as others get it: packed from a copy of this checkout. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { isRoot } from './strangers';

const checkout = join(__dirname, '../..');
/** Debian's `nobody`: a user who owns nothing here. */
const NOBODY = 65534;

/** For each step, none of which vitest can interrupt; compiling takes minutes. */
export const timeout = 500_000;

export interface Packed {
  tarball: string;
  /** Of the tarball, in bytes. */
  size: number;
  /** The paths in it. */
  files: string[];
}

/** Packs a copy, since packing makes dist/ anew, which other tests use. What is compiled already is not compiled again. */
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

/** A folder for PATH that has what npm and the package need, and no compiler. */
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

/** A user with an empty project: another one if we are root, and else ourselves. */
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
    // Only the package's own dependency is fetched, once.
    const npm = { npm_config_update_notifier: 'false', npm_config_prefer_offline: 'true' };
    this.env = { HOME: this.home, TMPDIR: this.home, ...npm, ...env };
  }

  /** In the project. */
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

  /** What a command prints that must succeed. */
  run(command: string, ...args: string[]): string {
    const outcome = this.try(command, args);
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ status: 0 });
    return outcome.stdout;
  }
}
