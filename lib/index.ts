/** The public API of the package. */
export { MAX_RANKS } from './limits';
export { type AdmissionOptions, type KvsOptions, type PmiId, type WireOptions } from './identity';
export { PmiServer, type PmiChannel, type PmiServerOptions } from './server';
export { PmiClient } from './client';
export {
  type BarrierGroup,
  type Connecting,
  type PmiMaxes,
  type PmiVersion,
  type SpawnProgram,
  type Spawned,
} from './client-options';
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
  type DebuggerOptions,
  type JobSettings,
  type LaunchApp,
  type LaunchApps,
  type Launcher,
  type LaunchHost,
  type LaunchOptions,
  type OutputFiles,
  type OutputTarget,
  type RankEnvironment,
  type SingletonOptions,
} from './launch-options';
export type { PmiTransport } from './transports';
export { type Bytes } from './options';
export {
  type ExitedEvent,
  type GroupEndedEvent,
  type GroupRank,
  type HostLostEvent,
  type HostStartedEvent,
  type StartedSinglyEvent,
  type Job,
  type JobEvent,
  type OfGroup,
  type PrintedEvent,
  type RepeatedJobEventType,
  type SpawnedEvent,
  type SpawnRefusedEvent,
  type StartedEvent,
  type UnlistedEvent,
} from './job';
export { listJobs, RunningJob } from './jobs';
export { describeProcess, type InspectOptions, type ProcessFacts, type RankFacts } from './inspect';
export { groupStacks, type Stack, type StackGroup } from './stacks';
export {
  type JobDescription,
  type JobEnd,
  type JobHost,
  type JobProgram,
  type JobStatus,
} from './job-socket';
export {
  describeFailure,
  type CompletedBarriers,
  type FailureReason,
  type JobApp,
  type JobFailure,
  type JobResult,
  type RankPhase,
  type RankResult,
  type RankCpu,
  type RankTimes,
} from './result';
export { PmiError, type PmiErrorCode, type PmiErrorDetails } from './errors';
export { type MissedEvent } from './event-hub';
export {
  type AbortedEvent,
  type AcceptedSpawn,
  type BarrierEvent,
  type EnteredEvent,
  type ConnectedEvent,
  type DisconnectedEvent,
  type EventBase,
  type EventOptions,
  type EventsOf,
  type FinalizedEvent,
  type HasType,
  type InitializedEvent,
  type NameServerLostEvent,
  type Peer,
  type PeerTransport,
  type PmiEvent,
  type ProtocolErrorEvent,
  type RejectedEvent,
  type RepeatedEventType,
  type SpawnCommand,
  type SpawnEvent,
  type StuckEvent,
} from './events';
export {
  describeStatus,
  type BarrierStatus,
  type GroupBarrier,
  type PmiStatus,
  type RankState,
  type SpawnedGroupStatus,
} from './status';
export { type BarrierDurations, type MetricsSource, type PmiMetrics } from './metrics';
export { registerMetrics, type MetricsRegistry, type RemoveMetrics } from './prometheus';
export { scrubEnvironment, type Environment } from './env';
export { formatIdset, parseIdset } from './idset';
export { type TraceOptions, type TraceSetting, type TraceSummary } from './trace/writer';
export { libpmiPath, libpmi2Path } from './native';
