import type { NativeError } from './native-notices';

/**
 * The codes of {@link PmiError}.
 *
 * | code | meaning |
 * | --- | --- |
 * | `ERR_PMI_OPTION` | an option or argument is invalid, or does not suit the connection |
 * | `ERR_PMI_ADDRESS` | an address is malformed, too long for a socket, or its host name cannot be resolved |
 * | `ERR_PMI_ADDRESS_IN_USE` | another process listens at the address, or the path is not a stale socket of this user |
 * | `ERR_PMI_LISTEN` | the server cannot listen for another reason (see `errno`) |
 * | `ERR_PMI_FD_LIMIT` | the limit of open files is too low for this number of ranks |
 * | `ERR_PMI_LAUNCH` | the agent cannot be started (see `errno`) |
 * | `ERR_PMI_ENVIRONMENT` | the PMI variables of the environment are incomplete or malformed |
 * | `ERR_PMI_CONNECT` | the client cannot connect to its server (see `errno`) |
 * | `ERR_PMI_SERVER_UID` | the server's socket belongs to another user |
 * | `ERR_PMI_NAME_SERVER` | the name server cannot be reached, or another kind of server answers |
 * | `ERR_PMI_TIMEOUT` | the server did not complete the handshake, or did not answer, in time |
 * | `ERR_PMI_REFUSED` | the server refused the client during the handshake |
 * | `ERR_PMI_HUNG_UP` | the server closed the connection |
 * | `ERR_PMI_PROTOCOL` | the server violated the PMI protocol |
 * | `ERR_PMI_RESULT` | the server answered a request with an error (see `rc`) |
 * | `ERR_PMI_PENDING` | the wait for an earlier request was given up, and the server has not answered it yet |
 * | `ERR_PMI_JOB` | a job of another process cannot be asked, or has ended |
 * | `ERR_PMI_CLOSED` | the object has been closed |
 * | `ERR_PMI_INTERNAL` | an internal error, for example out of memory. Only the object concerned has ended |
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
  | 'ERR_PMI_JOB'
  | 'ERR_PMI_CLOSED'
  | 'ERR_PMI_INTERNAL';

/** The optional properties of a {@link PmiError}. */
export interface PmiErrorDetails {
  /** The errno, if a system call failed. */
  errno?: number | undefined;
  /** The system call that failed. */
  syscall?: string | undefined;
  /** The rank that the error is about. */
  rank?: number | undefined;
  /** The rc of the server's answer; never 0. */
  rc?: number | undefined;
  /** The error that caused this one. */
  cause?: unknown;
}

/**
 * The error that every function of this package throws or rejects with. Exception: an aborted signal's own
 * reason.
 */
export class PmiError extends Error {
  /** The kind of error. */
  readonly code: PmiErrorCode;
  /** The errno, if a system call failed. */
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

/** Converts an `error` notice of the addon. */
export function fromNative(error: NativeError, rank?: number): PmiError {
  return new PmiError(error.code as PmiErrorCode, error.message, {
    errno: error.errno,
    syscall: error.syscall,
    rank,
  });
}

/**
 * Converts what an addon call has thrown. `code` is used for a system error, which has only errno and
 * syscall.
 */
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
