// What every agent of a job gets first: Hello, with what ranks of its host inherit and where their output
// goes. See wire/agent_messages.h.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "wire/agent/protocol.h"

namespace wireup::wire::agent {

enum class OutputMode : std::uint8_t {
  inherit,  // the rank writes to the agent's own stdout or stderr
  merge,    // the agent writes whole lines of all ranks there, each after its label
  file,     // to files that a pattern names; with a label, in whole lines. Existing files are replaced
  discard,  // /dev/null
};

// Where the ranks' stdout or stderr goes.
struct OutputPlan {
  OutputMode mode = OutputMode::inherit;
  std::string file = {};  // mode `file`: the pattern, see Hello::label
};

enum class BindingUnit : std::uint8_t {
  none,
  hwthread,
  core,
  socket,
  list,  // the CPU sets in Binding::sets, in turn
};

// The CPUs to which the agent binds ranks. The n-th rank that it starts is bound to the n-th unit. After the
// last unit the first one follows again.
struct Binding {
  BindingUnit unit = BindingUnit::none;
  std::vector<std::vector<std::uint32_t>> sets = {};  // unit `list`: CPU numbers
};

// A soft limit; ~0: unlimited.
struct Limit {
  std::uint32_t resource = 0;  // RLIMIT_...
  std::uint64_t value = 0;
};

// What ranks inherit from the process that called the launcher, if their host is another one. An agent of the
// launcher's host has inherited it itself.
struct Inherited {
  std::uint32_t umask = 0;
  std::int32_t nice = 0;
  // The agent takes the smaller one of these and its own hard limits. RLIMIT_NOFILE is in Hello::soft_files.
  std::vector<Limit> limits = {};
};

// What a host records of the PMI connections of its ranks.
struct TracePlan {
  bool on = false;
  bool json = false;           // the form; see wire/recording.h
  bool secrets = false;        // PMI_IDs are recorded too
  std::uint64_t start_ns = 0;  // when the recording has started
  // The first and the last rank of each range of ranks, in every process group; empty: all ranks.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> ranks = {};
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::uint32_t host = kOwnHost;  // the number of the receiver's host
  std::string name = {};  // the host's name in messages, labels and names of files; empty: gethostname()
  OutputPlan out = {};
  OutputPlan err = {};
  // The text before each line of output; empty: none. Labels and the patterns of files replace %r by the
  // rank, %h by its host, %p by the number of its node, %g by the number of its process group, %t by the
  // seconds since 1970 (labels only), and %% by a percent sign.
  std::string label = {};
  std::string spawned_label = {};  // the label of spawned process groups
  // How many ranks of this host get a copy of the launcher's stdin.
  std::uint32_t stdin_readers = 0;
  // Host 0 only: the other hosts that have readers of stdin. The agent of host 0 begins to read when all
  // readers on all hosts have started. If there are none, it closes its stdin at once.
  std::vector<std::uint32_t> stdin_hosts = {};
  Binding binding = {};
  // Ranks inherit these from the process that called the launcher: the numbers of ignored signals (in
  // addition to those that the agent itself ignores), the numbers of blocked signals, and the soft limit of
  // open files (0: the agent's own limit).
  std::vector<std::int32_t> ignored_signals = {};
  std::vector<std::int32_t> blocked_signals = {};
  std::uint32_t soft_files = 0;
  Inherited inherited = {};     // other hosts only
  std::uint64_t kvs_limit = 0;  // in bytes, of all process groups; see engine/space.h
  TracePlan trace = {};
  std::uint64_t sent_ns = 0;  // when the launcher has sent it

  // Calls `visit` with all fields, in their order on the wire. A new field that is missing here does not
  // compile.
  template <typename HelloOrConst, typename Visit>
  static void visit_fields(HelloOrConst& hello, Visit visit) {
    auto& [version_, host_, name_, out_, err_, label_, spawned_label_, stdin_readers_, stdin_hosts_, binding_,
           ignored_signals_, blocked_signals_, soft_files_, inherited_, kvs_limit_, trace_, sent_ns_] = hello;
    visit(version_, host_, name_, out_, err_, label_, spawned_label_, stdin_readers_, stdin_hosts_, binding_,
          ignored_signals_, blocked_signals_, soft_files_, inherited_, kvs_limit_, trace_, sent_ns_);
  }
};

// File descriptors that every rank of host 0 inherits, one attached fd for each number. Ranks see them under
// these numbers, and StartRank::fds must not contain them. The launcher sends as many of these messages as it
// needs, all before the first Start.
struct PassFds {
  std::vector<std::int32_t> fds;
};

}  // namespace wireup::wire::agent
