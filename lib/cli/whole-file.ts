/** Writes the files of `--result`, `--proctable` and `bench`: each whole, or not at all. */
import { native } from '../native';

/** The system's message if `work` fails. */
function fault(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Why the file cannot be written, as far as this can be known before the job runs. */
export function checkFile(file: string): string | undefined {
  return file === '' ? 'expected the name of a file' : fault(() => native.checkWhole(file));
}

/** Writes the file. If that fails, the result is the reason. */
export function writeJson(file: string, content: unknown): string | undefined {
  return writeWhole(file, `${JSON.stringify(content, null, 1)}\n`);
}

export function writeWhole(file: string, text: string): string | undefined {
  return fault(() => native.writeWhole(file, text));
}
