// Processes that attack the links of a running job over ZeroMQ (docs/threat-model.md): they are refused and counted, the job
// notices nothing, and hosts that are still to come get in. Some are processes of another user, as those of another machine
// would be. test/support/srun.sh stands in for srun, so the hosts are pretended.

import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ownAgentOf } from '../support/agents';
import { encodeJoin, readBootRecord, type BootRecord } from '../support/boot-record';
import { srunPath } from '../support/fake-srun';
import { HostileClient, isRoot, OTHER_UID, targetOf, type Task } from '../support/hostile-clients';
import { needs } from '../support/installed';
import { long } from '../support/long';
import { program } from '../support/programs';
import { lines, Run, wireup } from '../support/run';

vi.setConfig({ testTimeout: 150_000 });
const deadline = 120_000;
/** In milliseconds, for a busy machine. */
const timeout = 60_000;

const folder = mkdtempSync(join(tmpdir(), 'intruders-'));
// Another user reads a program in it.
chmodSync(folder, 0o755);
afterAll(() => rmSync(folder, { recursive: true }));

const hostCount = 3;
/** Half handshakes at the same time: many times those that a hub keeps. */
const flood = long ? 2000 : 1000;
/** A hub has at most so many connections that have sent nothing: kMaxUnbound, and one for each peer that it expects. */
const maxUnbound = 256 + hostCount;
/** In KiB: what that many connections may take in libzmq. */
const maxGrowth = 32 << 10;

const tools = needs('cc');
const users: (number | undefined)[] = isRoot ? [undefined, OTHER_UID] : [undefined];

async function until(what: string, condition: () => Promise<boolean> | boolean): Promise<void> {
  for (const end = Date.now() + timeout; !(await condition()); await delay(50))
    if (Date.now() > end) throw new Error(`not within ${timeout} ms: ${what}`);
}

let jobs = 0;
const attacked: Attacked[] = [];
class Attacked {
  readonly run: Run;
  readonly #metrics: string;
  readonly #gate: string;
  readonly #late: string;
  readonly #record: string;

  /** A job whose ranks wait for {@link finish}. With `late`, the agent of the last host starts at {@link admitLate}. */
  constructor({ late = false } = {}) {
    attacked.push(this);
    const at = join(folder, `job-${++jobs}`);
    [this.#metrics, this.#gate, this.#late, this.#record] = [
      `${at}.sock`,
      `${at}.gate`,
      `${at}.late`,
      `${at}.record`,
    ];
    const script = `echo up; until [ -e '${this.#gate}' ]; do sleep 0.05; done; exec "$0"`;
    this.run = new Run(
      wireup(
        ...['run', '--launcher', 'slurm', '--launcher-exec', srunPath, '--iface', 'lo'],
        // A chain, so that two of the hosts have a hub too.
        ...[
          '--tree-width',
          '1',
          '--hosts',
          `m[1-${hostCount}]`,
          '--metrics',
          `unix://${this.#metrics}`,
          '-v',
        ],
        ...['sh', '-c', script, program('raw_exchange')],
      ),
      {
        deadline,
        environment: {
          FAKE_SRUN_FOLDER: folder,
          FAKE_SRUN_COPY: this.#record,
          ...(late ? { FAKE_SRUN_WAIT: `m${hostCount} ${this.#late}` } : {}),
        },
      },
    );
  }

  get record(): BootRecord {
    return readBootRecord(this.#record);
  }

  async hasRecord(): Promise<void> {
    await until(
      'the boot record is sent',
      () => existsSync(this.#record) && readFileSync(this.#record).length > 100,
    );
  }

  /** `count` hosts have joined, and are ready. */
  async haveJoined(count: number): Promise<void> {
    await this.run.until(({ stderr }) => (stderr.match(/wireup-agent has started/g) ?? []).length >= count);
  }

  isUp(): Promise<void> {
    return this.run.until(({ stdout }) => lines(stdout).length === hostCount);
  }

  admitLate(): void {
    writeFileSync(this.#late, '');
  }

  /** The agents that listen, with their addresses: that of this host first. */
  hubs(): Hub[] {
    const own = ownAgentOf(this.run);
    return this.run
      .processes()
      .filter(({ name }) => name === 'wireup-agent')
      .flatMap(({ pid }) => listeningPorts(pid).map((port) => ({ pid, endpoint: `tcp://127.0.0.1:${port}` })))
      .sort((a, b) => Number(b.pid === own) - Number(a.pid === own));
  }

  async refused(): Promise<number> {
    const sent = request({ socketPath: this.#metrics, path: '/metrics' }).end();
    const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
    const page = await text(response);
    return Number(/^wireup_refused_connections_total\{reason="link"\} (\d+)$/m.exec(page)![1]);
  }

  /** The ranks exchange their business cards through the tree. */
  async finish(): Promise<void> {
    writeFileSync(this.#gate, '');
    const result = await this.run.done;
    expect(result).toMatchObject({ code: 0, signal: null });
    // Nothing but what -v reports.
    expect(
      lines(result.stderr).filter(
        (line) =>
          !/^wireup: (\d+ rank|phases: |host \S+: wireup-agent has started|the job ended|metrics )/.test(
            line,
          ),
      ),
    ).toEqual([]);
    expect(
      lines(result.stdout)
        .filter((line) => line !== 'up')
        .sort(),
    ).toEqual(
      Array.from({ length: hostCount }, (_, rank) => `raw_exchange: rank ${rank} of ${hostCount} ok`),
    );
  }
}

interface Hub {
  pid: number;
  endpoint: string;
}

/** The inodes of the sockets of a process. */
function socketsOf(pid: number): Set<string> {
  const inodes = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '';
    } catch {
      return ''; // closed meanwhile
    }
  });
  return new Set(inodes);
}

/** The TCP ports at which a process listens on 127.0.0.1. */
function listeningPorts(pid: number): number[] {
  const sockets = socketsOf(pid);
  // libzmq's sockets are of IPv6. See proc_net_tcp(5): the local address, the state (0A: it listens), and the inode. The
  // words of an address are little-endian.
  const tables = ['tcp', 'tcp6'].map((table) => readFileSync(`/proc/${pid}/net/${table}`, 'latin1'));
  return lines(tables.join('')).flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [address, port] = (fields[1] ?? '').split(':');
    const isOurs = fields[3] === '0A' && sockets.has(fields[9]!) && address!.endsWith('0100007F');
    return isOurs ? [parseInt(port!, 16)] : [];
  });
}

const openFiles = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;
const residentKib = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);

// ZMTP 3.1 (ZeroMQ's RFC 37): signature, version, mechanism, role, filler; then commands.
const signature = '\xff\0\0\0\0\0\0\0\x01\x7f';
const greeting = (mechanism: string): string =>
  `${signature}\x03\x01${mechanism.padEnd(20, '\0')}${'\0'.repeat(32)}`;
const halfHandshakes: [string, string][] = [
  ['nothing', ''],
  ['other bytes', 'GET / HTTP/1.1\r\n\r\n'],
  ['half a greeting', signature],
  ['a greeting only', greeting('CURVE')],
  ['the mechanism NULL, and READY', `${greeting('NULL')}\x04\x19\x05READY\x0bSocket-Type\0\0\0\x06DEALER`],
  ['the mechanism PLAIN, and a password', `${greeting('PLAIN')}\x04\x14\x05HELLO\x05agent\x08password`],
  ['a command of endless size', `${greeting('CURVE')}\x06\x7f\xff\xff\xff\xff\xff\xff\xff`],
];

const attacker = (() => {
  let copy: string | undefined;
  return (): string => {
    if (copy === undefined) {
      copy = join(folder, 'zmq_intruder');
      copyFileSync(program('zmq_intruder'), copy);
      chmodSync(copy, 0o755);
    }
    return copy;
  };
})();

/** What becomes of a connection with these keys, see test/support/programs/zmq_intruder.c. */
async function intrude(
  endpoint: string,
  rootKey: string,
  secretKey: string,
  message: Buffer,
  uid: number | undefined,
): Promise<string> {
  const child = spawn(attacker(), [endpoint], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  child.stdin.end(`${rootKey}\n${secretKey}\n${message.toString('hex')}\n`);
  return (await text(child.stdout)).trim();
}

const strangeKey = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7';

describe.skipIf(tools.missing)(`intruders${tools.note}`, () => {
  const clients: HostileClient[] = [];
  const start = (task: Task, uid: number | undefined): HostileClient => {
    const client = new HostileClient(task, uid);
    clients.push(client);
    return client;
  };
  afterEach(() => {
    for (const client of clients.splice(0)) client[Symbol.dispose]();
    // Of a test that has failed.
    for (const { run } of attacked.splice(0)) run.kill('SIGTERM');
  });

  describe.each(users)('of the user %s', (uid) => {
    let job: Attacked;
    beforeEach(() => {
      job = new Attacked();
    });

    it('get into no hub of a job, whichever keys they have', async () => {
      const other = new Attacked();
      await Promise.all([job.isUp(), other.isUp()]);
      const { record } = job;
      const old = other.record;
      const message = encodeJoin(record.job, record.hosts[0]!, strangeKey);
      let expected = 0;
      for (const { endpoint } of job.hubs()) {
        for (const [rootKey, secretKey] of [
          [strangeKey, 'new'], // a wrong key of the hub
          [record.rootKey, 'new'], // an unknown key of the client
          [record.rootKey, record.joinKey], // the record of this job, when all hosts have joined
          [record.rootKey, old.joinKey], // the record of another job
          [old.rootKey, old.joinKey],
        ] as const) {
          expect(await intrude(endpoint, rootKey, secretKey, message, uid)).toBe('refused');
          ++expected;
        }
      }
      expect(expected).toBe(5 * hostCount);
      await until('all are counted', async () => (await job.refused()) >= expected);
      await Promise.all([job.finish(), other.finish()]);
    });

    it.each(halfHandshakes)(
      'take no more memory and files than allowed, by the thousand: %s',
      async (_, bytes) => {
        await job.isUp();
        const hubs = job.hubs().slice(0, 2);
        expect(hubs).toHaveLength(2);
        for (const { pid, endpoint } of hubs) {
          const before = { files: openFiles(pid), memory: residentKib(pid), refused: await job.refused() };
          const client = start(
            {
              target: targetOf(endpoint),
              behaviour: 'reconnect',
              text: bytes,
              encoding: 'latin1',
              count: flood,
            },
            uid,
          );
          await client.ready;
          await until('they are refused', async () => {
            expect(residentKib(pid)).toBeLessThanOrEqual(before.memory + maxGrowth);
            return (await job.refused()) >= before.refused + flood;
          });
          // libzmq accepts connections while the hub closes others, so there may be more for a moment.
          await until('the hub has closed most', () => openFiles(pid) <= before.files + maxUnbound + 64);
          client[Symbol.dispose]();
          await until('their files are closed', () => openFiles(pid) <= before.files);
        }
        await job.finish();
      },
    );
  });

  it('do not keep a host out that is still to come, with half handshakes or with the boot record', async () => {
    const job = new Attacked({ late: true });
    await job.hasRecord();
    const { record } = job;
    const [endpoint] = record.endpoints as [string];
    const [first, , last] = record.hosts as [number, number, number];
    // Until the other hosts have joined, a replay could take the place of one.
    await job.haveJoined(hostCount - 1);
    const target = targetOf(endpoint);
    for (const [, bytes] of halfHandshakes)
      start(
        { target, behaviour: 'reconnect', text: bytes, encoding: 'latin1', count: flood / 10 },
        users.at(-1),
      );
    await until('they are refused', async () => (await job.refused()) >= flood);
    const key = strangeKey;
    const other = Buffer.alloc(record.job.length, 'x');
    for (const message of [
      Buffer.from('no message of a host'),
      encodeJoin(other, last, key), // the message of another job
      encodeJoin(record.job, first, key), // of a host that has joined
      encodeJoin(record.job, 1000, key), // of a host that the job does not have
    ])
      expect(await intrude(endpoint, record.rootKey, record.joinKey, message, users.at(-1))).toMatch(
        /^(closed|refused)$/,
      );
    job.admitLate();
    await job.isUp();
    await job.finish();
  });

  it('find no key in the argument or the environment of a process', async () => {
    const job = new Attacked();
    await job.isUp();
    const { rootKey, joinKey } = job.record;
    expect([rootKey.length, joinKey.length]).toEqual([40, 40]);
    let files = 0;
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      for (const file of ['cmdline', 'environ']) {
        let content: string;
        try {
          content = readFileSync(`/proc/${pid}/${file}`, 'latin1');
        } catch {
          continue; // it has ended
        }
        ++files;
        for (const key of [rootKey, joinKey]) expect(content.includes(key)).toBe(false);
      }
    }
    expect(files).toBeGreaterThan(2 * job.run.processes().length - 1);
    await job.finish();
  });
});
