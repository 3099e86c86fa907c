// The boot record of agents that one srun starts (native/wire/boot_record.h), and the messages of hosts that join.

import { readFileSync } from 'node:fs';

export interface BootRecord {
  job: Buffer;
  /** Of the agent of this host: tcp://ADDRESS:PORT. */
  endpoints: string[];
  rootKey: string;
  joinKey: string;
  hosts: number[];
}

/** The record in a copy of srun's stdin. */
export function readBootRecord(path: string): BootRecord {
  const bytes = readFileSync(path);
  // The greeting is a line, and the length of the frame follows it.
  let at = bytes.indexOf('\n') + 1 + 4;
  const number = (): number => bytes.readUInt32LE((at += 4) - 4);
  const text = (): Buffer => {
    const size = number();
    return bytes.subarray(at, (at += size));
  };
  const list = <T>(element: () => T): T[] => Array.from({ length: number() }, element);
  const job = text();
  const endpoints = list(() => text().toString('latin1'));
  const rootKey = text().toString('latin1');
  const joinKey = text().toString('latin1');
  number(); // the width of the tree
  return { job, endpoints, rootKey, joinKey, hosts: list(number) };
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** The message by which a host joins that has no children. */
export function encodeJoin(job: Buffer, host: number, key: string): Buffer {
  return Buffer.concat([
    uint32(job.length),
    job,
    uint32(host),
    uint32(key.length),
    Buffer.from(key),
    uint32(0),
  ]);
}
