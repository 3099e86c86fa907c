/** The manners in which a server may answer, and the rule that a client breaks if it does not work with one. */
import type { Manner, Reply } from './model';

export interface Trial {
  readonly rule: string;
  readonly version: 1 | 2;
  readonly manner: Manner;
  /** The program must fail. */
  readonly fails?: true;
  /** The trial shows something only for clients that send this request. */
  readonly only?: string;
}

const isResult = ({ command }: Reply): boolean => command !== 'set' && command !== 'initack';

const eachByte = (bytes: string): string[] => Array.from(bytes);

/** The value of a get_result stays last: nothing may follow it. */
function reversed(reply: Reply): Reply {
  const last = reply.attributes.filter(([name]) => name === 'value');
  const others = reply.attributes.filter(([name]) => name !== 'value');
  return { ...reply, attributes: [...others.reverse(), ...last] };
}

function withExtra(reply: Reply): Reply {
  if (!isResult(reply)) return reply;
  return { ...reply, attributes: [['x_check', '1'], ...reply.attributes] };
}

/** Writes a line of PMI-1 with blanks. */
function withBlanks(reply: Reply): Reply | string {
  if (!isResult(reply)) return reply;
  const pairs = reply.attributes.map(([name, value]) => `${name}=${value}`);
  return `${[`cmd=${reply.command}`, ...pairs].join('   ')}\n`;
}

const without = (reply: Reply, names: readonly string[]): Reply['attributes'] =>
  reply.attributes.filter(([name]) => !names.includes(name));

const hasSucceeded = (reply: Reply): boolean =>
  !reply.attributes.some(([name, value]) => name === 'rc' && value !== '0');

export const trials: readonly Trial[] = [
  { rule: 'C1-READ-1', version: 1, manner: { reply: reversed } },
  { rule: 'C1-READ-2', version: 1, manner: { reply: withExtra } },
  { rule: 'C1-READ-3', version: 1, manner: { reply: withBlanks } },
  { rule: 'C1-READ-4', version: 1, manner: { pieces: eachByte } },
  {
    rule: 'C1-READ-5',
    version: 1,
    manner: {
      reply: (reply) =>
        hasSucceeded(reply) ? { ...reply, attributes: without(reply, ['rc', 'msg']) } : reply,
    },
  },
  {
    rule: 'C1-READ-6',
    version: 1,
    manner: {
      reply: (reply) =>
        hasSucceeded(reply) && isResult(reply)
          ? {
              ...reply,
              attributes: [['rc', '0'], ['msg', 'success'], ...without(reply, ['rc', 'msg'])],
            }
          : reply,
    },
  },
  {
    rule: 'C1-READ-7',
    version: 1,
    only: 'get',
    manner: {
      reply: (reply) =>
        reply.command === 'get_result' && hasSucceeded(reply)
          ? { ...reply, attributes: [...reply.attributes, ['found', 'TRUE']] }
          : reply,
    },
  },
  { rule: 'C1-READ-8', version: 1, manner: { subversion: 2 } },
  { rule: 'C1-READ-9', version: 1, manner: { mapping: '' }, only: 'get' },
  { rule: 'C1-READ-10', version: 1, manner: { limits: { kvsname: 16, key: 32, value: 64 } } },
  {
    rule: 'C1-READ-11',
    version: 1,
    fails: true,
    only: 'put',
    manner: {
      reply: (reply) =>
        reply.command === 'put_result'
          ? {
              ...reply,
              attributes: [
                ['rc', '-1'],
                ['msg', 'refused'],
              ],
            }
          : reply,
    },
  },
  { rule: 'C2-READ-1', version: 2, manner: { reply: reversed } },
  { rule: 'C2-READ-2', version: 2, manner: { reply: withExtra } },
  { rule: 'C2-READ-3', version: 2, manner: { pieces: eachByte } },
  { rule: 'C2-READ-4', version: 2, manner: { frameLength: (length) => String(length).padEnd(6) } },
];
