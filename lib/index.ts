/** What `import 'wireup'` gives. */
export { MAX_RANKS } from './limits';
export { type AdmissionOptions, type KvsOptions, type PmiId, type WireOptions } from './identity';
export { PmiServer, type PmiChannel, type PmiServerOptions } from './server';
export {
  PmiClient,
  type BarrierGroup,
  type Connecting,
  type PmiMaxes,
  type PmiVersion,
  type SpawnProgram,
  type Spawned,
} from './client';
export { type Waiting } from './wait';
export {
  listNames,
  NameServer,
  type NameServerEvent,
  type NameServerOptions,
  type PublishedName,
} from './names';
export { launch, prepareLaunch } from './launch';
export {
  type JobSettings,
  type LaunchApp,
  type LaunchOptions,
  type OutputTarget,
  type PmiTransport,
  type RankEnvironment,
} from './launch-options';
export { type Bytes } from './options';
export { type Job, type JobEvent } from './job';
export { describeFailure, type JobApp, type JobFailure, type JobResult, type RankResult } from './result';
export { PmiError, type PmiErrorCode, type PmiErrorDetails } from './errors';
export { type Missed } from './event-hub';
export {
  type EventOptions,
  type Peer,
  type PmiEvent,
  type RepeatedEvent,
  type SpawnCommand,
  type AcceptedSpawn,
  type SpawnEvent,
  type Timed,
} from './events';
export { describeStatus, type GroupBarrier, type PmiStatus, type RankState } from './status';
export { scrubEnvironment, type Environment } from './env';
export { formatIdset, parseIdset } from './idset';
export { libpmiPath, libpmi2Path } from './native';
