import type { NativeError } from './native';

/**
 * Every code a {@link PmiError} can have.
 *
 * | code | meaning |
 * | --- | --- |
 * | `ERR_PMI_OPTION` | an option or argument is wrong, or not for this connection; thrown at the call |
 * | `ERR_PMI_ADDRESS` | an address is not in the grammar of PMI_PORT, or too long for a socket |
 * | `ERR_PMI_ADDRESS_IN_USE` | somebody listens there, or what is there is not a dead socket of ours |
 * | `ERR_PMI_LISTEN` | the server cannot listen for another reason (see `errno`) |
 * | `ERR_PMI_FD_LIMIT` | the limit on open files is too low for so many ranks |
 * | `ERR_PMI_LAUNCH` | the agent cannot be started (see `errno`) |
 * | `ERR_PMI_ENVIRONMENT` | PMI variables of the environment make no sense |
 * | `ERR_PMI_CONNECT` | the client cannot reach its server (see `errno`) |
 * | `ERR_PMI_SERVER_UID` | the server's socket belongs to another user |
 * | `ERR_PMI_NAME_SERVER` | the name server cannot be reached, or what answers there is none |
 * | `ERR_PMI_TIMEOUT` | the server did not complete the handshake, or did not answer, in time |
 * | `ERR_PMI_REFUSED` | the server closed the connection during the handshake |
 * | `ERR_PMI_HUNG_UP` | the server closed the connection later |
 * | `ERR_PMI_PROTOCOL` | the server said what PMI does not know |
 * | `ERR_PMI_RESULT` | the server answered a request with an error (see `rc`) |
 * | `ERR_PMI_PENDING` | an earlier request was given up, and the server has not answered it yet |
 * | `ERR_PMI_CLOSED` | the object has been closed |
 * | `ERR_PMI_INTERNAL` | something failed inside, as where memory ran out; only the object that it was for has ended |
 */
export type PmiErrorCode =
  | 'ERR_PMI_OPTION'
  | 'ERR_PMI_ADDRESS'
  | 'ERR_PMI_ADDRESS_IN_USE'
  | 'ERR_PMI_LISTEN'
  | 'ERR_PMI_FD_LIMIT'
  | 'ERR_PMI_LAUNCH'
  | 'ERR_PMI_ENVIRONMENT'
  | 'ERR_PMI_CONNECT'
  | 'ERR_PMI_SERVER_UID'
  | 'ERR_PMI_NAME_SERVER'
  | 'ERR_PMI_TIMEOUT'
  | 'ERR_PMI_REFUSED'
  | 'ERR_PMI_HUNG_UP'
  | 'ERR_PMI_PROTOCOL'
  | 'ERR_PMI_RESULT'
  | 'ERR_PMI_PENDING'
  | 'ERR_PMI_CLOSED'
  | 'ERR_PMI_INTERNAL';

/** What a {@link PmiError} has beside its code and message. */
export interface PmiErrorDetails {
  /** The number of the system's error, where a system call failed. */
  errno?: number | undefined;
  /** The system call that failed. */
  syscall?: string | undefined;
  /** The rank it is about. */
  rank?: number | undefined;
  /** What the server answered; never 0. */
  rc?: number | undefined;
  /** The error that caused this one. */
  cause?: unknown;
}

/** What every function of this package throws or rejects with, but for an aborted signal's own reason. */
export class PmiError extends Error {
  /** What went wrong, for programs. */
  readonly code: PmiErrorCode;
  /** The number of the system's error, if a system call failed. */
  readonly errno?: number;
  /** The system call that failed. */
  readonly syscall?: string;
  /** The rank that the error is about. */
  readonly rank?: number;
  /** The rc of the server's answer; never 0. */
  readonly rc?: number;

  constructor(code: PmiErrorCode, message: string, details: PmiErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'PmiError';
    this.code = code;
    if (details.errno !== undefined) this.errno = details.errno;
    if (details.syscall !== undefined) this.syscall = details.syscall;
    if (details.rank !== undefined) this.rank = details.rank;
    if (details.rc !== undefined) this.rc = details.rc;
  }
}

export function fromNative(fault: NativeError, rank?: number): PmiError {
  return new PmiError(fault.code as PmiErrorCode, fault.message, {
    errno: fault.errno,
    syscall: fault.syscall,
    rank,
  });
}

/** What the addon throws at a call: a system error with errno and syscall, which `code` is for, or one with a code of its own. */
export function fromThrown(code: PmiErrorCode, thrown: unknown): PmiError {
  if (thrown instanceof PmiError) return thrown;
  const {
    message,
    errno,
    syscall,
    code: own,
  } = thrown as Error & { errno?: number; syscall?: string; code?: PmiErrorCode };
  return new PmiError(own ?? code, message, { errno, syscall, cause: thrown });
}
