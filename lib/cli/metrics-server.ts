/** The HTTP server of --metrics. It answers GET /metrics, and asks the job for its figures with each request. */
import { lstatSync, chmodSync, mkdtempSync, renameSync, rmSync, type Stats } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type ListenOptions } from 'node:net';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { resolveAddresses } from '../address';
import { PmiError } from '../errors';
import type { MetricsSource } from '../metrics';
import { registerMetrics } from '../prometheus';

/** Limits of a client, in milliseconds. Prometheus sends its request at once, and keeps its connection. */
const REQUEST_MS = 5000;
const KEEP_ALIVE_MS = 120_000;

/** More connections are refused. A job has one Prometheus, or two. */
const MAX_CONNECTIONS = 32;

const PATH = '/metrics';

export interface MetricsServer {
  /** Where it answers: a URL, or the path of a socket. */
  readonly url: string;
  /** The kernel has chosen the port. */
  readonly portChosen: boolean;
  /** Answers with the figures of the job from now on. */
  serve(source: MetricsSource): void;
  /** Ends all connections, and removes the socket. */
  close(): void;
}

/**
 * @param address as the user gives it
 * @param remote other machines may reach it
 */
export async function listenForMetrics(address: string, remote: boolean): Promise<MetricsServer> {
  const registry = new Registry();
  const server = createServer(
    { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => void answer(registry, request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  // It does not keep the command alive.
  server.unref();
  const [uri] = await resolveAddresses('metrics', address);
  const path = /^unix:\/\/(.*)$/s.exec(uri)?.[1];
  const listening = await (path === undefined
    ? listenOnPort(server, uri, remote)
    : listenOnPath(server, path));
  return {
    ...listening,
    serve: (source) => void registerMetrics(registry, source),
    close: () => {
      server.close();
      server.closeAllConnections();
      listening.remove();
    },
  };
}

async function answer(registry: Registry, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const reply = (code: number, text: string, type = 'text/plain; charset=utf-8'): void => {
    response.writeHead(code, { 'content-type': type, 'content-length': Buffer.byteLength(text) });
    response.end(request.method === 'HEAD' ? '' : text);
  };
  request.resume();
  if (request.method !== 'GET' && request.method !== 'HEAD') return reply(405, 'expected GET\n');
  if (request.url?.split('?')[0] !== PATH) return reply(404, `expected ${PATH}\n`);
  reply(200, await registry.metrics(), registry.contentType);
}

interface Listening {
  url: string;
  portChosen: boolean;
  remove(): void;
}

const isLoopback = (host: string): boolean => host === '::1' || /^127(\.\d+){3}$/.test(host);

async function listenOnPort(server: Server, uri: string, remote: boolean): Promise<Listening> {
  const url = new URL(uri.replace(/^tcp:/, 'http:'));
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = Number(/:(\d+)$/.exec(uri)![1]);
  if (!isLoopback(host) && !remote) {
    throw new PmiError(
      'ERR_PMI_ADDRESS',
      `metrics ${host}:${port}: other machines may reach this address. Use 127.0.0.1, or add --metrics-remote`,
    );
  }
  await listen(server, { host, port }, `${url.hostname}:${port}`);
  const chosen = (server.address() as AddressInfo).port;
  return {
    url: `http://${url.hostname}:${chosen}${PATH}`,
    portChosen: port === 0,
    remove: () => {},
  };
}

/**
 * Listens on a socket of mode 0600. It is made in a private folder and then moved, so that no other user can connect to it
 * before it has its mode. (A umask would do, but the threads of the core would start processes with it.)
 */
async function listenOnPath(server: Server, path: string): Promise<Listening> {
  if (path.startsWith('@'))
    throw new PmiError(
      'ERR_PMI_ADDRESS',
      `metrics unix://${path}: every user can connect to an abstract socket. Use a path`,
    );
  await checkStale(path);
  const folder = attempt(path, () => mkdtempSync(`${path}.`));
  const made = join(folder, 's');
  let own: Stats;
  try {
    await listen(server, { path: made }, path);
    chmodSync(made, 0o600);
    own = lstatSync(made);
    attempt(path, () => renameSync(made, path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const remove = (): void => {
    process.off('exit', remove);
    const now = lstatSync(path, { throwIfNoEntry: false });
    if (now?.ino === own.ino && now.dev === own.dev) rmSync(path, { force: true });
  };
  process.once('exit', remove);
  return { url: `unix://${path}, ${PATH}`, portChosen: false, remove };
}

/** Only a socket of this user on which no process listens may be replaced. */
async function checkStale(path: string): Promise<void> {
  const found = attempt(path, () => lstatSync(path, { throwIfNoEntry: false }));
  if (found === undefined) return;
  const inUse = new Error(
    `--metrics unix://${path}: the path exists, and is not a stale socket of this user`,
  );
  if (!found.isSocket() || found.uid !== process.geteuid!()) throw inUse;
  await new Promise<void>((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      reject(inUse);
    });
    socket.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNREFUSED' ? resolve() : reject(inUse),
    );
  });
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw listenError(path, error);
  }
}

const listenError = (where: string, error: unknown): Error =>
  new Error(`cannot listen for --metrics at ${where}: ${(error as Error).message}`, { cause: error });

function listen(server: Server, options: ListenOptions, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) => reject(listenError(where, error)));
    server.listen(options, resolve);
  });
}
