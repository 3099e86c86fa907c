/** The files of `--result`, `--proctable` and the reports of `bench`: written whole or not at all. */
import { accessSync, closeSync, constants, fsyncSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** What stands there already; a device, a pipe or a socket is written to, not replaced. */
function isSpecial(file: string): boolean {
  const status = statSync(file, { throwIfNoEntry: false });
  return status !== undefined && !status.isFile();
}

function explain(error: unknown): string {
  return (error as Error).message;
}

/** Why the file cannot be written, as far as can be told before the job runs. */
export function checkFile(file: string): string | undefined {
  try {
    if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) return 'expected a file, this is a folder';
    accessSync(isSpecial(file) ? file : dirname(file), constants.W_OK);
    return undefined;
  } catch (error) {
    return explain(error);
  }
}

/** Why it could not be written, where it could not. */
export function writeJson(file: string, content: unknown): string | undefined {
  return writeWhole(file, `${JSON.stringify(content, null, 1)}\n`);
}

export function writeWhole(file: string, text: string): string | undefined {
  const unfinished = `${file}.${process.pid}`;
  try {
    if (isSpecial(file)) {
      writeFileSync(file, text);
      return undefined;
    }
    const fd = openSync(unfinished, 'wx', 0o666);
    try {
      writeFileSync(fd, text);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(unfinished, file);
    return undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') rmSync(unfinished, { force: true });
    return explain(error);
  }
}
