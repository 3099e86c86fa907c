// The frames of a recorded link between two agents (native/wire/link_framer.h), and the messages in them.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { root } from './root';

/** A part of a barrier: a Fence or a Release of native/wire/agent_messages.h. */
export interface FencePart {
  group: number;
  number: number;
  /** In the order of their names. */
  keys: string[];
  last: boolean;
}

export interface Frame {
  /** The name of the message. */
  kind: string;
  bytes: number;
  /** Of a Fence or Release. */
  fence?: FencePart;
}

/** The names of the messages, in the order of their numbers. */
function messageNames(): string[] {
  const source = readFileSync(join(root, 'native/wire/agent_messages.h'), 'utf8');
  const [, names] = /using AnyMessage =\s*std::variant<([\w,\s]+)>/.exec(source)!;
  return names!.split(',').map((name) => name.trim());
}

/** The keys of native/wire/key_values.h. */
function keysOf(text: Buffer): string[] {
  const keys: string[] = [];
  for (let at = 0; at < text.length;) {
    const end = at + 4 + text.readUInt32LE(at);
    keys.push(text.toString('latin1', at + 4, end));
    at = end + 4 + text.readUInt32LE(end);
  }
  return keys.sort();
}

function fencePart(fields: Buffer): FencePart {
  const length = fields.readUInt32LE(12);
  return {
    group: fields.readUInt32LE(0),
    number: Number(fields.readBigUInt64LE(4)),
    keys: keysOf(fields.subarray(16, 16 + length)),
    last: fields.readUInt8(16 + length) === 1,
  };
}

/** All frames of one direction of a link, without heartbeats. */
export function framesOf(recorded: Buffer): Frame[] {
  const names = messageNames();
  const greeting = recorded.indexOf('wireup-agent ');
  const frames: Frame[] = [];
  for (let at = recorded.indexOf('\n', greeting) + 1; at < recorded.length;) {
    const bytes = recorded.readUInt32LE(at);
    const packet = recorded.subarray(at + 4, at + 4 + bytes);
    at += 4 + bytes;
    if (bytes === 0) continue;
    const kind = names[packet[0]!]!;
    // The header is the kind and a host of 32 bits.
    const isFence = kind === 'Fence' || kind === 'Release';
    frames.push({ kind, bytes, ...(isFence ? { fence: fencePart(packet.subarray(5)) } : {}) });
  }
  return frames;
}
