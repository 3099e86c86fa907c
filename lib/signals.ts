/** Converts between names and numbers of signals. */
import { constants } from 'node:os';
import { checkInteger, optionError } from './options';

/** If a signal has several names (SIGABRT and SIGIOT, SIGIO and SIGPOLL), Node lists the usual one first. */
const signalNames = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
);

/** The highest number of a signal (SIGRTMAX). */
const MAX_SIGNAL = 64;

/** Checks an array of signals. Numbers are accepted too, because Node has no names for real-time signals. */
export function signalNumbers(option: string, signals: unknown): number[] {
  if (!Array.isArray(signals)) throw optionError(option, 'an array of signals', signals);
  return signals.map((signal, i) => {
    if (typeof signal === 'number') return checkInteger(`${option}[${i}]`, signal, 1, MAX_SIGNAL);
    return signalNumber(option, signal as NodeJS.Signals);
  });
}

export function signalNumber(option: string, signal: NodeJS.Signals): number {
  const number = constants.signals[signal];
  if (number === undefined) throw optionError(option, 'the name of a signal', signal);
  return number;
}

export function signalName(number: number): NodeJS.Signals {
  return signalNames.get(number) ?? (`SIG${number}` as NodeJS.Signals);
}
