// The notices that the reactor thread sends to the calling process, in order: answers to requests, and
// events. Each is for one handle.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "engine/client_session.h"
#include "engine/counters.h"
#include "engine/effects.h"
#include "engine/outcome.h"
#include "engine/process_group.h"
#include "os/reactor.h"
#include "runtime/error.h"
#include "runtime/trace.h"
#include "wire/agent_messages.h"
#include "wire/name_messages.h"

namespace wireup::runtime {

using Handle = std::uint32_t;
using RequestId = std::uint64_t;

struct ServerOpened {
  std::string address;   // as a URI; empty if the server listens nowhere
  std::string pmi_port;  // the value of PMI_PORT for ranks
};

struct NamesListed {
  std::vector<wire::names::Row> rows;
};

// The connection to the name server is lost: no name will be published or looked up any more.
struct NamesLost {};

// A process asks about a job; see runtime/job_socket.h. The answer goes to this connection.
struct JobQuestion {
  std::uint32_t connection;
  std::string question;
};

// The connection of a question has ended, and gets no more answers.
struct AskerGone {
  std::uint32_t connection;
};

// What the PMI servers of a handle have counted since it was opened, on all hosts.
struct Totals {
  engine::Counters counters;
  std::uint64_t barriers = 0;   // of all ranks of a process group, complete
  std::uint64_t kvs_bytes = 0;  // of keys and values, on the host with the most
  std::uint64_t turns = 0;      // of the event loops that serve the ranks
};

struct StatusReply {
  RequestId request;
  // By the number of the process group; a PMI server has only group 0.
  std::map<std::uint32_t, engine::ProcessGroupStatus> groups;
  Totals totals = {};
  std::vector<std::string> awaited = {};  // the hosts that have been asked for and have not answered
};

// What the processes of ranks of process group 0 do, in the order of the ranks.
struct Inspection {
  RequestId request;
  std::vector<wire::agent::InspectedRank> ranks;
};

// The agent of the launcher's own host is there, and so is the PMI server of group 0.
struct AgentReady {
  std::int32_t pid;
};

// The agent of another host is there.
struct HostStarted {
  std::uint32_t host;  // its number
  std::string name;
  std::int32_t pid;      // of the agent, on that host
  std::string own_name;  // what gethostname() returns there
};

// One command could not start all hosts, so each has its own. `reason`: why, for people.
struct StartedSingly {
  std::string reason;
};

// Another host is lost, or its agent could not be started. `message` is the reason, for people.
struct HostLost {
  std::uint32_t host;
  std::string name;
  bool started;
  std::string message;
  std::vector<std::uint32_t> ranks;  // of group 0, on that host
};

struct RankStarted {
  std::uint32_t rank;
  std::int32_t pid;
  std::vector<std::uint32_t> cpus;  // the CPUs that the rank is bound to; empty: it is not bound
};

struct RankExited {
  std::uint32_t rank;
  engine::RankOutcome outcome;
};

// How many events of one type were dropped because the queue was full. It stands in the queue where the first
// of them would.
struct EventsMissed {
  engine::EventType type;
  std::uint64_t count;
};

// All ranks of a spawned process group have been started.
struct GroupSpawned {};

// A process group could not be started, and why. None of its ranks is left.
struct SpawnFailure {
  std::string message;
};

// No rank of a spawned process group runs any more.
struct GroupEnded {};

// Ranks have written to the terminal, which removed the status line for good.
struct RanksPrinted {};

// Milliseconds since the launch; negative: it did not happen.
struct RankTimes {
  double started = -1;
  double connected = -1;  // over PMI_PORT; an inherited channel is connected from the start
  double initialized = -1;
  double finalized = -1;
  double aborted = -1;
  double disconnected = -1;
  double exited = -1;
  // When it entered the first barriers of all ranks, by their numbers. Empty unless Group::reported_entries
  // asks for it. Negative inside: not known, because the launcher was slow.
  std::vector<double> entered = {};
};

// Milliseconds of processor time, as Exited has it.
struct CpuTimes {
  double user = 0;
  double system = 0;
};

// A result has the times of at most this many barriers.
inline constexpr std::size_t kMaxBarrierTimes = 64;

struct LaunchResult {
  std::int32_t exit_code = 0;
  bool stopped = false;  // the calling process's stop() ended ranks or kept some from being started
  std::optional<engine::Failure> failure;
  std::uint32_t failed_group = 0;
  engine::RankOutcome failed_rank = {};  // the outcome of the rank that the failure names
  // The status of the process group when it failed, if it failed because ranks were missing.
  std::optional<engine::ProcessGroupStatus> status;
  // Those of the missing ranks that had left.
  std::vector<std::uint32_t> departed;
  // The hosts that had been asked for and had not answered then.
  std::vector<std::string> awaited;
  // If the job was not ready in time: what the processes of late ranks did then.
  std::vector<wire::agent::InspectedRank> late;
  std::vector<std::string> hosts;  // the names of all hosts, by number
  double duration = 0;             // milliseconds
  std::uint32_t victims = 0;       // in all process groups
  // The rest is about process group 0.
  std::uint64_t barriers = 0;
  std::vector<double> barrier_times;  // of the first barriers
  std::vector<engine::RankOutcome> ranks;
  std::vector<engine::RankState> states;
  std::vector<RankTimes> times;
  std::vector<CpuTimes> cpu;          // zero while the rank runs
  std::vector<std::uint32_t> places;  // the number of each rank's host
};

// The answers to requests that were made one after the other and all succeeded: `first`, first + 1, and so
// on.
struct Answers {
  RequestId first;
  std::vector<std::string> values;
};

// The handle is gone. No notice follows.
struct Closed {};

// Every waiting notice takes the space of the largest payload. So a large and rare one is allocated
// separately.
using Payload =
    std::variant<ServerOpened, NamesListed, NamesLost, JobQuestion, AskerGone, std::unique_ptr<StatusReply>,
                 Inspection, engine::Event, EventsMissed, engine::SpawnQuery, AgentReady, HostStarted,
                 StartedSingly, HostLost, RankStarted, RankExited, GroupSpawned, SpawnFailure, GroupEnded,
                 RanksPrinted, std::unique_ptr<LaunchResult>, TraceLines, engine::Ready, engine::Answer,
                 Answers, engine::Failed, Error, Closed>;
static_assert(sizeof(Payload) <= sizeof(engine::Event) + sizeof(std::size_t));

// The payload as a T; null if it is something else.
template <typename T>
T* as(Payload& payload) {
  if constexpr (std::is_same_v<T, StatusReply> || std::is_same_v<T, LaunchResult>) {
    auto* box = std::get_if<std::unique_ptr<T>>(&payload);
    return box == nullptr ? nullptr : box->get();
  } else {
    return std::get_if<T>(&payload);
  }
}
template <typename T>
const T* as(const Payload& payload) {
  return as<T>(const_cast<Payload&>(payload));
}

struct Notice {
  Handle handle;
  Payload payload;
  std::uint32_t group = 0;  // the process group of a launch that the notice is about
  double time = 0;          // when it happened, in milliseconds since the handle was opened
};

// When something has happened; empty: now.
using When = std::optional<os::Reactor::Clock::time_point>;

// Takes the notices of the drivers. Called on the reactor thread.
class NoticeSink {
 public:
  virtual ~NoticeSink() = default;
  virtual void notify(Handle handle, Payload payload, std::uint32_t group = 0, When when = {}) = 0;
  // For events: those that the calling process reads are passed on, up to a bound.
  virtual void tell(Handle handle, const engine::Event& event, std::uint32_t group = 0, When when = {}) = 0;
};

}  // namespace wireup::runtime
