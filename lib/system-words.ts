/** The words of the system for errors of Node's own functions. Those of the addon have such words already. */
import { getSystemErrorMap } from 'node:util';

/** Without Node's code, call and name: `no such file or directory`. Other errors keep their message. */
export function systemWords(error: unknown): string {
  const { errno, message } = error as NodeJS.ErrnoException;
  return (errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[1]) ?? message;
}

/** With the name of the file or program, if the error has it: `job.json: no such file or directory`. */
export function namedSystemWords(error: unknown): string {
  const { path } = error as NodeJS.ErrnoException;
  const words = systemWords(error);
  return path === undefined || words.includes(path) ? words : `${path}: ${words}`;
}
