/** Signals by name and by number. */
import { constants } from 'node:os';
import { optionError } from './options';

/** Where one signal has several names (SIGABRT and SIGIOT, SIGIO and SIGPOLL), Node lists the usual one first. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
);

export function signalNumber(option: string, signal: NodeJS.Signals): number {
  const number = constants.signals[signal];
  if (number === undefined) throw optionError(option, 'the name of a signal', signal);
  return number;
}

export function signalName(number: number): NodeJS.Signals {
  return signalNames.get(number) ?? (`SIG${number}` as NodeJS.Signals);
}
