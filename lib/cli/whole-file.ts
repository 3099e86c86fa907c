/** The files of `--result`, `--proctable` and the reports of `bench`: written whole or not at all. */
import { native } from '../native';

/** What the system says, where `work` fails. */
function fault(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Why the file cannot be written, as far as can be told before the job runs. */
export function checkFile(file: string): string | undefined {
  return file === '' ? 'expected the name of a file' : fault(() => native.checkWhole(file));
}

/** Why it could not be written, where it could not. */
export function writeJson(file: string, content: unknown): string | undefined {
  return writeWhole(file, `${JSON.stringify(content, null, 1)}\n`);
}

export function writeWhole(file: string, text: string): string | undefined {
  return fault(() => native.writeWhole(file, text));
}
