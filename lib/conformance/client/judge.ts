/** Keeps what the judge of requests finds about the clients of a model server. */
import { RequestJudge, type Broken } from '../judge-requests';
import type { Request } from '../wire';
import type { Judge, ModelClient, ModelJob } from './model';

export interface Fault {
  readonly reason: string;
  readonly lines: readonly string[];
}

export class ClientJudge implements Judge {
  /** The first fault of each rule. */
  readonly faults = new Map<string, Fault>();
  /** Called when the server must end a connection. */
  onRefused: (client: ModelClient) => void = () => undefined;
  /** Called when a rank has sent abort. */
  onAborted: (rank: number) => void = () => undefined;
  readonly #isPmiId: ((id: string) => boolean) | undefined;
  readonly #requests = new RequestJudge();

  /** @param pmiIds by rank, if the clients must identify themselves */
  constructor(pmiIds: readonly string[] | undefined) {
    this.#isPmiId = pmiIds === undefined ? undefined : (id) => pmiIds.includes(id);
  }

  /** The process group that it judges. */
  set job({ kvsname, limits }: ModelJob) {
    this.#requests.kvsname = kvsname;
    this.#requests.limits = limits;
  }

  /** Rules to which some request was subject. */
  get seen(): ReadonlySet<string> {
    return this.#requests.seen;
  }

  onMalformed(client: ModelClient, reason: string): void {
    this.#fail(client, this.#requests.malformed(client.version, reason));
  }

  onAbort({ rank }: ModelClient): void {
    this.onAborted(rank);
  }

  onOverlap(client: ModelClient): void {
    this.#fail(client, this.#requests.overlap(client.version));
  }

  onRequest(client: ModelClient, request: Request): void {
    const { state, rank } = client;
    state.rank = rank === -1 ? undefined : rank;
    state.isPmiId = this.#isPmiId;
    for (const broken of this.#requests.judge(state, request)) this.#fail(client, broken);
  }

  #fail({ transcript }: ModelClient, { rule, reason }: Broken): void {
    if (!this.faults.has(rule))
      this.faults.set(rule, { reason, lines: transcript.since(Math.max(0, transcript.length - 4)) });
  }
}
