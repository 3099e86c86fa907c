// What the reactor thread tells the owner, in order: answers to what was asked and events, each for one
// handle.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "engine/client_session.h"
#include "engine/effects.h"
#include "engine/outcome.h"
#include "engine/process_group.h"
#include "wire/name_messages.h"

namespace wireup::runtime {

using Handle = std::uint32_t;
using RequestId = std::uint64_t;

// Why a handle failed. `code` is one of the documented ERR_PMI_ codes.
struct Error {
  std::string code;
  std::string message;
  std::int32_t error = 0;  // errno, where a system call failed
  std::string syscall = {};
};

struct ServerOpened {
  std::string address;   // as a URI; empty when it listens nowhere
  std::string pmi_port;  // what ranks are handed
};

struct NamesListed {
  std::vector<wire::names::Row> rows;
};

// The name server has gone: no name will be published or looked up any more.
struct NamesLost {};

struct StatusReply {
  RequestId request;
  std::map<std::uint32_t, engine::ProcessGroupStatus> groups;  // by number; a server has but group 0
};

struct AgentReady {
  std::int32_t pid;
  std::string host;
};

struct RankStarted {
  std::uint32_t rank;
  std::int32_t pid;
  std::vector<std::uint32_t> cpus;  // that it is bound to; none: it is not
};

struct RankExited {
  std::uint32_t rank;
  engine::RankOutcome outcome;
};

// Events of a kind that are not told, since as many of that kind wait as may: how many. It stands where the
// first of them would.
struct EventsMissed {
  engine::EventType type;
  std::uint64_t count;
};

// All ranks of a spawned group have been started.
struct GroupSpawned {};

// A group could not be started: why. Nothing of it is left, or will be.
struct SpawnFailure {
  std::string message;
};

// No rank of a spawned group runs any more.
struct GroupEnded {};

// Ranks have written to the terminal, whose status line has gone for good.
struct RanksPrinted {};

// Milliseconds since the launch; negative: it did not happen.
struct RankTimes {
  double started = -1;
  double connected = -1;  // over PMI_PORT; an inherited channel is there from the start
  double initialized = -1;
  double finalized = -1;
  double exited = -1;
};

// How many completed barriers a result tells the time of.
inline constexpr std::size_t kMaxBarrierTimes = 64;

struct LaunchResult {
  std::int32_t exit_code = 0;
  bool stopped = false;  // the owner's stop() ended ranks, or kept some from being started
  std::optional<engine::Failure> failure;
  std::uint32_t failed_group = 0;
  engine::RankOutcome failed_rank = {};  // the outcome of the rank that the failure names
  // The ranks when it failed, where the failure is that some were not there; and of those who are missing,
  // those that had left.
  std::optional<engine::ProcessGroupStatus> status;
  std::vector<std::uint32_t> departed;
  double duration = 0;        // milliseconds
  std::uint32_t victims = 0;  // in all groups
  // Of the launch's own group.
  std::uint64_t barriers = 0;
  std::vector<double> barrier_times;  // of the first ones
  std::vector<engine::RankOutcome> ranks;
  std::vector<engine::RankState> states;
  std::vector<RankTimes> times;
};

// Answers of requests that were made one after the other, all successful: of `first`, first + 1, and so on.
struct Answers {
  RequestId first;
  std::vector<std::string> values;
};

// The handle is gone; nothing more comes for it.
struct Closed {};

using Payload = std::variant<ServerOpened, NamesListed, NamesLost, StatusReply, engine::Event, EventsMissed,
                             engine::SpawnQuery, AgentReady, RankStarted, RankExited, GroupSpawned,
                             SpawnFailure, GroupEnded, RanksPrinted, LaunchResult, engine::Ready,
                             engine::Answer, Answers, engine::Failed, Error, Closed>;

struct Notice {
  Handle handle;
  Payload payload;
  std::uint32_t group = 0;  // of a launch, whose ranks the notice is about
  double time = 0;          // milliseconds since the server or launch began; 0 of what has no beginning
};

// Where the parts of host/ put their notices. Called on the reactor thread.
class NoticeSink {
 public:
  virtual ~NoticeSink() = default;
  virtual void notify(Handle handle, Payload payload, std::uint32_t group = 0) = 0;
  // Events go this way: those that the owner reads are passed on, up to a bound.
  virtual void tell(Handle handle, const engine::Event& event, std::uint32_t group = 0) = 0;
};

}  // namespace wireup::runtime
