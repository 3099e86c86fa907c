#include "tools/agent/groups.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include "os/error.h"
#include "os/limits.h"
#include "os/message_socket.h"
#include "os/private_directory.h"
#include "os/start_process.h"
#include "runtime/engine_messages.h"
#include "runtime/error.h"
#include "runtime/pmi_ids.h"
#include "runtime/rank_environment.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;

// Of a running rank: its PMI connection and its pidfd.
constexpr std::size_t kFdsPerRank = 2;
// Of a rank that is being started: its ends of three pipes and of its PMI connection.
constexpr std::size_t kFdsPerStart = 4;
// Others, such as a listener.
constexpr std::size_t kSpareFds = 28;

// The launcher is too slow for the recording if it has so many bytes to read.
constexpr std::size_t kMaxUnsentForTrace = 1 << 20;

// The limit of open files is too low for the ranks of a group.
struct FdShortage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// By rank; empty: all ranks are on this host.
std::vector<bool> ranks_elsewhere(const Group& group, const engine::Layout& layout, std::uint32_t host) {
  if (layout.nodes() > group.nodes.size())
    throw std::invalid_argument("nodes: expected one for each number in the layout, got fewer");
  std::vector<bool> elsewhere(layout.size());
  for (std::uint32_t rank = 0; rank < layout.size(); ++rank)
    elsewhere[rank] = group.nodes[layout.place(rank).node].host != host;
  if (std::ranges::count(elsewhere, true) == 0) elsewhere.clear();
  return elsewhere;
}

}  // namespace

bool HostedGroup::has(std::uint32_t rank) const {
  return rank < layout().size() && (elsewhere.empty() || !elsewhere[rank]);
}

Groups::Groups(os::Reactor& reactor, const Router& router, Reports& reports, const LauncherClock& clock,
               FolderNote& folder, OnFence on_fence)
    : reactor_(reactor),
      router_(router),
      reports_(reports),
      clock_(clock),
      on_fence_(std::move(on_fence)),
      folder_(std::make_shared<runtime::PrivateFolder>(
          [&folder](const std::string& path) { folder.set(path); })) {}

Groups::~Groups() = default;

void Groups::greet(const Hello& hello, std::string host_name) {
  host_name_ = std::move(host_name);
  stdin_readers_ = hello.stdin_readers;
  space_ = std::make_shared<engine::Space>(hello.kvs_limit);
  if (hello.trace.on) {
    runtime::TraceReceiver receiver;
    receiver.take = [this](runtime::TraceLines lines) {
      reports_.send(TraceLines{std::move(lines.lines), lines.records, lines.dropped});
    };
    receiver.is_slow = [this] { return router_.unsent() > kMaxUnsentForTrace; };
    trace_ = std::make_shared<runtime::Trace>(
        reactor_, hello.trace, hello.host == kOwnHost ? std::string() : host_name_, std::move(receiver));
    trace_start_ns_ = hello.trace.start_ns;
    clock_changed();
  }
  for (const OutputPlan& plan : {hello.out, hello.err}) {
    const bool joins =
        plan.mode == OutputMode::merge || (plan.mode == OutputMode::file && !hello.label.empty());
    if (joins) ++pipes_;
    // Ranks of spawned process groups do not write to the agent's own streams.
    if (joins || plan.mode == OutputMode::inherit) ++spawned_pipes_;
  }
}

void Groups::clock_changed() {
  if (trace_) trace_->set_start(clock_.own_time(trace_start_ns_));
}

const char* Groups::add(Group& group) {
  const std::uint32_t number = group.number;
  if (groups_.contains(number)) return "makes a process group that exists";
  try {
    if (auto made = make(group)) groups_.emplace(number, std::move(made));
    reports_.send(GroupReady{number});
  } catch (const os::OsError& error) {
    reports_.send(GroupFailed{number, error.code().value(), error.syscall(), error.subject()});
  } catch (const FdShortage& error) {
    reports_.send(GroupFailed{number, EMFILE, {}, error.what()});
  } catch (const std::exception& error) {
    reports_.send(GroupFailed{number, runtime::errno_of(error), {}, runtime::describe(error)});
  }
  return nullptr;
}

std::unique_ptr<HostedGroup> Groups::make(Group& group) {
  if (space_->is_full())
    throw std::invalid_argument("the keys and values of the job have reached their limit");
  engine::ProcessGroupOptions options = runtime::to_process_group_options(group);
  if (options.auth.allowed_uids.empty()) options.auth.allowed_uids = {::geteuid()};
  auto made = std::make_unique<HostedGroup>();
  made->elsewhere = ranks_elsewhere(group, options.layout, router_.host());
  const std::uint32_t size = options.layout.size();
  const auto here = static_cast<std::size_t>(size - std::ranges::count(made->elsewhere, true));
  if (here == 0) return nullptr;
  require_fds(group.number, here);
  options.names_elsewhere = true;
  options.space = space_;
  options.elsewhere = made->elsewhere;
  runtime::ListenOptions listen = runtime::to_listen_options(group);
  if (group.pmi == PmiMode::port) {
    options.auth.pmi_ids = runtime::make_pmi_ids(size, group.pmi_id);
    for (std::uint32_t rank = 0; rank < size; ++rank) {
      if (options.is_elsewhere(rank)) options.auth.pmi_ids[rank].text.clear();
    }
    listen.folder = folder_;
    listen.socket_name = std::string(os::kSocketName) + "-" + std::to_string(group.number);
  }
  made->server = std::make_unique<runtime::ServerDriver>(reactor_, std::move(options), listen,
                                                         callbacks(group.number, !made->elsewhere.empty()),
                                                         runtime::Traced{trace_, group.number});
  made->server->started_by(::getpid());
  if (const auto& address = made->server->address()) made->pmi_port = wire::to_pmi_port(*address);
  group.layout.clear();
  group.preput.clear();
  made->plan = std::move(group);
  return made;
}

void Groups::require_fds(std::uint32_t group, std::size_t ranks) const {
  const std::size_t running =
      group == 0 ? ranks * (kFdsPerRank + pipes_) + stdin_readers_ : ranks * (kFdsPerRank + spawned_pipes_);
  const std::size_t needed = running + std::min(ranks, os::kConcurrentStarts) * kFdsPerStart + kSpareFds;
  // The kernel drops fds of a message that exceed the limit, so there is room for them too.
  const os::FdLimit limit = os::make_room_for_fds(needed + os::kMaxFdsPerMessage);
  const std::size_t all = os::open_fds() + needed;
  if (all <= limit.soft) return;
  throw FdShortage(std::to_string(ranks) + " ranks need " + std::to_string(all) +
                   " open files in wireup-agent, but the limit is " + std::to_string(limit.soft) +
                   " (hard limit " + std::to_string(limit.hard) +
                   "): raise it with `ulimit -n` or start fewer ranks");
}

runtime::ServerCallbacks Groups::callbacks(std::uint32_t number, bool spans_hosts) {
  runtime::ServerCallbacks callbacks;
  callbacks.on_event = [this, number, spans_hosts](const engine::Event& event) {
    // See FencesObserver::on_barrier().
    if (spans_hosts && event.type == engine::EventType::barrier) return;
    reports_.event(number, event);
  };
  callbacks.on_spawn_query = [this, number](engine::SpawnQuery query) {
    reports_.send(runtime::to_message(number, std::move(query)));
  };
  callbacks.on_name_query = [this, number](engine::NameQuery query) {
    reports_.send(runtime::to_message(number, std::move(query)));
  };
  callbacks.on_fence = [this, number](engine::FenceQuery query) { on_fence_(number, std::move(query)); };
  callbacks.on_barrier_query = [this, number](engine::BarrierQuery query) {
    reports_.send(BarrierQuery{number, query.id, query.rank, std::move(query.group)});
  };
  return callbacks;
}

HostedGroup* Groups::find(std::uint32_t number) {
  const auto found = groups_.find(number);
  return found == groups_.end() ? nullptr : found->second.get();
}

const char* Groups::adopt(const AdoptRank& adopt, std::optional<std::vector<os::UniqueFd>> fds) {
  HostedGroup* const group = find(adopt.group);
  if (group == nullptr || !group->has(0)) return "adopts a rank of an unknown process group";
  if (fds && fds->size() != 1) return "has not the fd of the rank that it adopts";
  try {
    if (!fds) throw os::OsError(EMFILE, "recvmsg", "the rank's connection, in wireup-agent");
    group->server->adopt_channel(0, std::move(fds->front()));
    group->server->runs_as(0, adopt.pid);
  } catch (const os::OsError& error) {
    reports_.send(StartFailed{group->task(0), error.code().value(), error.syscall(), error.subject()});
  } catch (const std::logic_error&) {
    return "adopts a rank that has a connection";
  }
  return nullptr;
}

RankSetup Groups::set_up(const HostedGroup& group, std::uint32_t rank, const Executable& program) const {
  const engine::Layout& layout = group.layout();
  const Node& node = group.plan.nodes[layout.place(rank).node];
  const runtime::RankPlace place{rank, layout.size(), layout.local_rank(rank), layout.local_size(rank)};
  RankSetup setup;
  setup.names = {group.plan.number, rank, node.number, node.name.empty() ? host_name_ : node.name};
  if (group.plan.pmi == PmiMode::fd) {
    setup.environment = runtime::channel_environment(place, group.plan.channel_fd);
    setup.channel = group.server->open_channel(rank);
  } else {
    const engine::PmiId& id = group.server->group().options().auth.pmi_ids[rank];
    setup.environment = runtime::port_environment(place, group.pmi_port, id.text);
  }
  if (node.name.empty()) return setup;
  if (group.plan.pretend_hosts) {
    setup.host_name = node.name;
  } else if (!program.chooses_interface) {
    // No look-up finds a pretended name, so this is for real ones only.
    setup.environment.push_back(runtime::host_environment(node.name));
  }
  return setup;
}

const char* Groups::depart(const Depart& depart) {
  const HostedGroup* const group = find(depart.group);
  if (group == nullptr) return nullptr;
  for (const std::uint32_t rank : depart.ranks) {
    if (rank >= group->layout().size()) return "names a rank that does not exist";
    if (depart.back) {
      group->server->come_back(rank);
    } else {
      group->server->depart(rank);
    }
  }
  return nullptr;
}

void Groups::answer(SpawnAnswer& answer) {
  if (const HostedGroup* group = find(answer.group)) {
    const engine::QueryId query = answer.query;
    group->server->answer_spawn(query, runtime::from_message(std::move(answer)));
  }
}

const char* Groups::answer(NameAnswer& answer) {
  const HostedGroup* const group = find(answer.group);
  const engine::QueryId query = answer.query;
  const auto known = runtime::from_message(std::move(answer));
  if (!known) return "has an unknown error of a name";
  if (group != nullptr) group->server->answer_name(query, *known);
  return nullptr;
}

void Groups::answer(const BarrierAnswer& answer) {
  if (const HostedGroup* group = find(answer.group))
    group->server->answer_barrier(answer.query, answer.complete, answer.gone);
}

void Groups::forget(std::uint32_t number) {
  if (const HostedGroup* const group = find(number)) forgotten_.add(group->server->group().counters());
  groups_.erase(number);
}

StatusReply Groups::status(std::uint32_t id) const {
  StatusReply reply{id, {}};
  engine::Counters counters = forgotten_;
  for (const auto& [number, group] : groups_) {
    reply.groups.push_back(runtime::to_message(number, group->server->group().status()));
    counters.add(group->server->group().counters());
  }
  reply.counters = runtime::to_message(counters);
  reply.counters.kvs_bytes = space_ ? space_->used() : 0;
  reply.counters.turns = reactor_.turns();
  return reply;
}

void Groups::finish_trace() {
  if (trace_) trace_->finish();
}

}  // namespace wireup::agent
