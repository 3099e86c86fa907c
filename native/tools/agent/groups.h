// The process groups that have ranks on this host, each with its PMI server. Events and queries of a server
// become messages to the launcher, whose answers come back here. All servers share one memory limit of keys
// and values, and one private folder for their unix sockets.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/space.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "runtime/private_listener.h"
#include "runtime/server_driver.h"
#include "tools/agent/guard.h"
#include "tools/agent/pattern.h"
#include "tools/agent/programs.h"
#include "tools/agent/reports.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// A process group with ranks on this host.
struct HostedGroup {
  std::uint32_t task(std::uint32_t rank) const { return plan.first_task + rank; }
  const engine::Layout& layout() const { return server->group().options().layout; }
  // Whether the group has this rank, and it is on this host.
  bool has(std::uint32_t rank) const;

  wire::agent::Group plan;      // without what only the server needs
  std::vector<bool> elsewhere;  // by rank; empty: all ranks are here
  std::string pmi_port;         // mode `port`
  std::unique_ptr<runtime::ServerDriver> server;
};

// How a rank differs from the others of its program.
struct RankSetup {
  RankNames names;
  std::vector<std::string> environment;
  os::UniqueFd channel;   // in mode `fd`; the rank sees it as Group::channel_fd
  std::string host_name;  // what gethostname() returns; empty: the host's own name
};

class Groups {
 public:
  // All ranks of the group that are on this host are in the barrier, and others are elsewhere.
  using OnFence = std::function<void(std::uint32_t group, engine::FenceQuery query)>;

  // `folder` gets the path of the private folder.
  Groups(os::Reactor& reactor, const Router& router, Reports& reports, const LauncherClock& clock,
         FolderNote& folder, OnFence on_fence);
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  // Before the first group. `host_name`: this host's name in labels and names of files.
  void greet(const wire::agent::Hello& hello, std::string host_name);

  // The clock that the constructor was given has a better offset. Not after the first start of a rank.
  void clock_changed();

  // Makes the group's server, if ranks of it are here, and sends GroupReady or GroupFailed. Returns what is
  // wrong with the message, or nullptr.
  const char* add(wire::agent::Group& group);
  // Null for a group that has no ranks here, and for one that could not be made.
  HostedGroup* find(std::uint32_t number);
  // Closes the group's server. Does nothing without one.
  void forget(std::uint32_t number);

  // Takes the rank's PMI connection. If that fails, sends StartFailed. Returns what is wrong with the
  // message, or nullptr.
  const char* adopt(const wire::agent::AdoptRank& adopt, std::optional<std::vector<os::UniqueFd>> fds);

  // Opens the rank's channel in mode `fd`, so it is called once for each start. Throws OsError.
  RankSetup set_up(const HostedGroup& group, std::uint32_t rank, const Executable& program) const;

  // These do nothing for a group without a server here. Answers to queries of connections that have ended are
  // ignored. They return what is wrong with the message, or nullptr.
  const char* depart(const wire::agent::Depart& depart);
  void answer(wire::agent::SpawnAnswer& answer);
  const char* answer(wire::agent::NameAnswer& answer);
  void answer(const wire::agent::BarrierAnswer& answer);

  wire::agent::StatusReply status(std::uint32_t id) const;

  // Sends what the trace has recorded. Nothing is recorded afterwards.
  void finish_trace();

 private:
  // Null if no rank of it is here. Throws OsError, std::invalid_argument and std::bad_alloc.
  std::unique_ptr<HostedGroup> make(wire::agent::Group& group);
  void require_fds(std::uint32_t group, std::size_t ranks) const;
  runtime::ServerCallbacks callbacks(std::uint32_t number, bool spans_hosts);

  os::Reactor& reactor_;
  const Router& router_;
  Reports& reports_;
  const LauncherClock& clock_;
  OnFence on_fence_;
  std::string host_name_;
  // How many pipes the agent reads for each rank of group 0, and of other groups.
  std::size_t pipes_ = 0;
  std::size_t spawned_pipes_ = 0;
  std::size_t stdin_readers_ = 0;  // ranks of group 0
  std::shared_ptr<engine::Space> space_;
  std::shared_ptr<runtime::PrivateFolder> folder_;
  std::shared_ptr<runtime::Trace> trace_;                         // null: nothing is recorded
  std::uint64_t trace_start_ns_ = 0;                              // TracePlan::start_ns
  std::map<std::uint32_t, std::unique_ptr<HostedGroup>> groups_;  // by number
  engine::Counters forgotten_;                                    // of groups that were forgotten
};

}  // namespace wireup::agent
