#include "tools/agent/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

#include "os/error.h"
#include "os/inherited_limits.h"
#include "os/limits.h"
#include "os/message_socket.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;

// Reserved for ending the job: to read /proc, to write cgroup.kill, to remove the cgroup's folders, and to
// print a line on stderr.
constexpr std::size_t kReservedFds = 8;

std::string own_host_name() {
  std::array<char, 256> name{};  // HOST_NAME_MAX is 64
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

// Whether `fd` is a pipe or socket without a reader.
bool is_broken(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLERR | POLLHUP)) != 0;
}

os::UniqueFd open_dev_null() {
  os::UniqueFd fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd) throw os::OsError::last("open", "/dev/null");
  return fd;
}

// What an agent receives of its parent.
template <typename T>
concept ForAgent = std::is_same_v<T, Hello> || std::is_same_v<T, PassFds> || std::is_same_v<T, Group> ||
    std::is_same_v<T, ForgetGroup> || std::is_same_v<T, AdoptRank> || std::is_same_v<T, Program> ||
    std::is_same_v<T, ForgetProgram> || std::is_same_v<T, Start> || std::is_same_v<T, Signal> ||
    std::is_same_v<T, End> || std::is_same_v<T, Status> || std::is_same_v<T, Depart> ||
    std::is_same_v<T, SpawnAnswer> || std::is_same_v<T, NameAnswer> || std::is_same_v<T, BarrierAnswer> ||
    std::is_same_v<T, QueryStatus> || std::is_same_v<T, TaskPipes> || std::is_same_v<T, CloseOutput> ||
    std::is_same_v<T, Credit> || std::is_same_v<T, wire::agent::Input> || std::is_same_v<T, StartHost> ||
    std::is_same_v<T, Release> || std::is_same_v<T, RankProcesses> || std::is_same_v<T, ClockAnswer> ||
    std::is_same_v<T, Inspect> || std::is_same_v<T, StartTogether> || std::is_same_v<T, ExpectHost>;

}  // namespace

Agent::Agent(os::Reactor& reactor, pid_t guard, ParentEnd parent, const Signals& signals, Cgroup& cgroup,
             GuardNotes& notes)
    : reactor_(reactor),
      cgroup_(cgroup),
      dev_null_(open_dev_null()),
      clock_(!parent.out || parent.same_host),
      router_(reactor, std::move(parent), *this),
      fences_(router_, *this),
      reports_(reactor, router_, clock_),
      ranks_(reactor, *this),
      groups_(reactor, router_, reports_, clock_, notes.folder,
              [this](std::uint32_t group, engine::FenceQuery query) {
                fences_.fence_here(group, std::move(query));
              }),
      starts_({reactor, reports_, groups_, ranks_, cgroup, dev_null_.get()}, signals, own_host_name()),
      inspector_(reactor, reports_, groups_, ranks_, dev_null_.get()),
      end_(reactor, router_, ranks_, cgroup, output_, [this] { host_done(); }),
      guard_(reactor, guard, [this] { abandon(); }),
      loop_beats_(reactor, guard, notes.loop) {
  // The kernel drops fds that exceed the limit of open files, so the limit is raised before they arrive.
  os::make_room_for_fds(os::kMaxFdsPerMessage + kReservedFds);
  for (std::size_t i = 0; i < kReservedFds; ++i) {
    reserve_.emplace_back(::fcntl(dev_null_.get(), F_DUPFD_CLOEXEC, 0));
    if (!reserve_.back()) throw os::OsError::last("fcntl");
  }
  // The launcher waits for it before it sends Hello to another host.
  if (!router_.is_remote()) return;
  loop_beats_.start();
  reports_.send(Ready{kProtocolVersion, ::getpid(), own_host_name()});
}

Agent::~Agent() = default;

int Agent::run() {
  try {
    reactor_.run();
  } catch (const std::exception& error) {
    complain("%s; ending all ranks", error.what());
    abandon();
    reactor_.run();
  }
  // The guard removes it too, if it still runs.
  cgroup_.remove();
  return exit_code_;
}

void Agent::on_message(Message& message, Fds fds) {
  if (done_sent_ || end_.phase() == JobEnd::Phase::abandoned) return;
  const char* fault = std::visit(
      [&](auto& known) -> const char* {
        if constexpr (ForAgent<std::decay_t<decltype(known)>>) {
          return handle(known, std::move(fds));
        } else {
          return "is not for an agent";
        }
      },
      message);
  if (fault != nullptr) on_invalid(fault);
}

void Agent::on_invalid(const char* fault) {
  if (done_sent_ || end_.phase() == JobEnd::Phase::abandoned) return;
  complain("a message of the launcher %s; ending all ranks", fault);
  abandon();
}

void Agent::on_parent_gone(const std::string& fault) {
  if (!fault.empty()) complain("the launcher's socket: %s; ending all ranks", fault.c_str());
  abandon();
}

const char* Agent::handle(Hello& hello, const Fds&) {
  if (greeted_) return "is a second hello";
  const std::string host = own_host_name();
  // Also for a launcher of another version, so that it can report the mismatch.
  if (!router_.is_remote()) reports_.send(Ready{kProtocolVersion, ::getpid(), host});
  if (hello.version != kProtocolVersion) return "has another protocol version (launcher and agent differ)";
  greeted_ = true;
  if (router_.is_remote()) {
    ::umask(static_cast<mode_t>(hello.inherited.umask & 0777));
    std::vector<std::pair<std::uint32_t, std::uint64_t>> limits;
    for (const Limit& limit : hello.inherited.limits) limits.emplace_back(limit.resource, limit.value);
    os::take_limits(limits);
    os::take_niceness(hello.inherited.nice);
  }
  clock_.greet(hello.sent_ns, os::Reactor::Clock::now());
  ask_for_time();
  fences_.greet(hello.kvs_limit);
  auto& hosts = static_cast<HostMessages&>(*this);
  output_ = std::make_unique<Output>(reactor_, hello, hosts, static_cast<OutputObserver&>(*this));
  input_ = make_input(reactor_, hello, hosts);
  if (!input_ && ::dup2(dev_null_.get(), STDIN_FILENO) < 0) throw os::OsError::last("dup2", "/dev/null");
  groups_.greet(hello, hello.name.empty() ? host : hello.name);
  starts_.greet(hello, *output_, input_.get());
  return nullptr;
}

const char* Agent::handle(Group& group, const Fds&) {
  reports_.spans(fences_.add(group));
  return groups_.add(group);
}

const char* Agent::handle(const ForgetGroup& forget, const Fds&) {
  if (starts_.has(forget.group)) return "forgets a process group whose ranks are to be started";
  groups_.forget(forget.group);
  fences_.forget(forget.group);
  return nullptr;
}

const char* Agent::handle(const ForgetProgram& forget, const Fds&) {
  starts_.forget_program(forget.program);
  return nullptr;
}

const char* Agent::handle(const Signal& signal, const Fds&) {
  if (signal.tasks.empty()) ranks_.signal_all(signal.signal);
  for (const std::uint32_t task : signal.tasks) ranks_.signal(task, signal.signal);
  return nullptr;
}

const char* Agent::handle(const Status& status, const Fds&) {
  output_->show_status(status.line);
  return nullptr;
}

const char* Agent::handle(SpawnAnswer& answer, const Fds&) {
  groups_.answer(answer);
  return nullptr;
}

const char* Agent::handle(const BarrierAnswer& answer, const Fds&) {
  groups_.answer(answer);
  return nullptr;
}

const char* Agent::handle(const QueryStatus& query, const Fds&) {
  StatusReply reply = groups_.status(query.id);
  reply.counters.refused[static_cast<std::size_t>(engine::Refusal::link)] += router_.refused();
  reports_.send(reply);
  return nullptr;
}

void Agent::ask_for_time() {
  if (const auto query = clock_.next_query(os::Reactor::Clock::now())) reports_.send(*query);
}

const char* Agent::handle(const ClockAnswer& answer, const Fds&) {
  const char* const fault = clock_.answer(answer, os::Reactor::Clock::now());
  if (fault != nullptr) return fault;
  groups_.clock_changed();
  ask_for_time();
  return nullptr;
}

const char* Agent::handle(Start& start, Fds fds) {
  clock_.fix();
  return starts_.add(start, std::move(fds));
}

const char* Agent::handle(const TaskPipes& pipes, Fds fds) {
  const char* const fault = output_->handle(pipes, std::move(fds));
  // The next message may contain as many fds.
  os::make_room_for_fds(os::kMaxFdsPerMessage);
  return fault;
}

const char* Agent::handle(const wire::agent::Input& input, const Fds&) {
  return input_ ? input_->handle(input) : "is input without a reader";
}

const char* Agent::handle(const End& end, const Fds&) {
  if (!greeted_) {
    host_done();
    return nullptr;
  }
  reserve_.clear();
  inspector_.stop();
  starts_.cancel();
  end_.end(std::chrono::milliseconds(end.grace_ms));
  return nullptr;
}

void Agent::on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) {
  if (end_.phase() == JobEnd::Phase::abandoned) return;
  // If the rank writes to the agent's stdout itself, only its SIGPIPE shows that the reader has gone.
  if (status.signaled && status.value == SIGPIPE && output_->inherits_stdout() && !ended &&
      is_broken(STDOUT_FILENO)) {
    on_output_lost(EPIPE, "stdout");
  }
  reports_.send(Exited{task, status.signaled, status.value, status.core_dumped, ended,
                       static_cast<std::uint64_t>(status.user.count()),
                       static_cast<std::uint64_t>(status.system.count()), reports_.now_ns()});
  if (input_) input_->remove(task);
  end_.rank_exited();
}

const char* Agent::on_message_below(std::uint32_t child, std::uint32_t host, Message& message) {
  if (done_sent_ || end_.phase() == JobEnd::Phase::abandoned) return nullptr;
  if (const auto* fence = std::get_if<Fence>(&message)) return fences_.fence_of(child, *fence);
  if (!greeted_) return "came before hello";
  if (auto* output = std::get_if<wire::agent::Output>(&message))
    return output_->handle(host, std::move(*output));
  if (const auto* readers = std::get_if<InputReaders>(&message))
    return input_ ? input_->handle(host, *readers) : nullptr;
  if (const auto* credit = std::get_if<Credit>(&message))
    return input_ ? input_->handle(host, *credit) : nullptr;
  return "is not for this host";
}

void Agent::on_host_lost(std::uint32_t host) {
  fences_.lose(host);
  if (output_) output_->lose_host(host);
  if (input_) input_->lose_host(host);
}

// In the way of complain(), without its prefix: the line has the name of its host.
void Agent::on_child_stderr(const std::string& line) { print_line(line); }

void Agent::on_barrier(std::uint32_t group, std::uint64_t number) {
  reports_.event(group, {.type = engine::EventType::barrier, .barrier = number});
}

std::string Agent::on_release(std::uint32_t group, std::uint64_t number, std::string keys) {
  const HostedGroup* const hosted = groups_.find(group);
  return hosted == nullptr ? std::string() : hosted->server->finish_fence(number, std::move(keys));
}

void Agent::on_output_lost(int error, const std::string& subject) {
  reports_.send(OutputLost{error, subject});
}

void Agent::on_printed() { reports_.send(Printed{}); }

void Agent::host_done() {
  if (end_.phase() == JobEnd::Phase::abandoned) return reactor_.stop();
  done_sent_ = true;
  exit_code_ = 0;
  groups_.finish_trace();
  reports_.send(Done{});
  on_parent_taken();
}

void Agent::on_parent_taken() {
  if (done_sent_ && router_.unsent() == 0) reactor_.stop();
}

void Agent::abandon() {
  if (done_sent_) return reactor_.stop();
  reserve_.clear();
  reports_.stop();
  inspector_.stop();
  starts_.stop();
  router_.drop_children();
  end_.abandon();
  input_.reset();
}

}  // namespace wireup::agent
