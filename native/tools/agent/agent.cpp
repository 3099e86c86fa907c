#include "tools/agent/agent.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <exception>
#include <set>
#include <utility>
#include <variant>

#include "os/error.h"
#include "os/limits.h"
#include "os/private_directory.h"
#include "runtime/rank_environment.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;

// After the launcher has gone, the job must end within two seconds. A process that is stuck in the kernel (a
// dead network file system) is left to init.
constexpr std::chrono::milliseconds kAbandonLimit{1500};
// Interval at which ranks that still run receive KILL again.
constexpr std::chrono::milliseconds kKillAgain{100};
// Interval at which the agent checks whether the launcher has taken the last message.
constexpr std::chrono::milliseconds kFlushCheck{5};
// A running rank takes a pidfd and two pipes. To start one takes the other ends of the pipes, and the fds of
// start_process().
constexpr std::size_t kFdsPerRank = 3;
constexpr std::size_t kFdsToStart = 16;
// Reserved for ending the job: to read /proc, to write cgroup.kill, to remove the cgroup's folders, and to
// print a line on stderr.
constexpr std::size_t kReservedFds = 8;

std::string host_name() {
  std::array<char, 256> name{};  // HOST_NAME_MAX is 64
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

// Whether `fd` is a pipe or socket without a reader.
bool is_broken(int fd) {
  pollfd entry{fd, POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLERR | POLLHUP)) != 0;
}

}  // namespace

Agent::Agent(os::Reactor& reactor, pid_t guard, os::UniqueFd launcher, const Signals& signals, Cgroup& cgroup)
    : reactor_(reactor),
      signals_(signals),
      cgroup_(cgroup),
      dev_null_(::open("/dev/null", O_RDWR | O_CLOEXEC)),
      ranks_(reactor, *this),
      table_(host_name()),
      descendants_(reactor, ranks_),
      launcher_(reactor, std::move(launcher), *this),
      guard_(reactor, guard, [this] { abandon(); }) {
  if (!dev_null_) throw os::OsError::last("open", "/dev/null");
  // The kernel drops fds that exceed the limit of open files, so the limit is raised before they arrive.
  os::make_room_for_fds(os::kMaxFdsPerMessage + kFdsToStart);
  for (std::size_t i = 0; i < kReservedFds; ++i) {
    reserve_.emplace_back(::fcntl(dev_null_.get(), F_DUPFD_CLOEXEC, 0));
    if (!reserve_.back()) throw os::OsError::last("fcntl");
  }
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
  if (phase_ == Phase::abandoned) {
    for (const std::string& folder : socket_folders_) os::remove_dead_directory(folder);
  }
  return exit_code_;
}

void Agent::on_message(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) {
  if (phase_ == Phase::finished || phase_ == Phase::abandoned) return;
  auto message = decode(packet);
  const char* fault = "cannot be read";
  if (message) {
    const bool early = !hello_ && !std::holds_alternative<Hello>(*message);
    fault = early ? "came before hello"
                  : std::visit(
                        [this, &fds](auto& known) -> const char* {
                          using T = std::decay_t<decltype(known)>;
                          if constexpr (std::is_same_v<T, Start> || std::is_same_v<T, PassFds>) {
                            return handle(known, std::move(fds));
                          } else if constexpr (std::is_same_v<T, Hello> || std::is_same_v<T, SocketFolder> ||
                                               std::is_same_v<T, Program> || std::is_same_v<T, Signal> ||
                                               std::is_same_v<T, Status> || std::is_same_v<T, End>) {
                            return handle(known);
                          } else {
                            return "is not for an agent";
                          }
                        },
                        *message);
  }
  if (fault != nullptr) {
    complain("a message of the launcher %s; ending all ranks", fault);
    abandon();
  }
}

const char* Agent::handle(Hello& hello) {
  if (hello_) return "is a second hello";
  // Also for a launcher of another version, so that it can report the mismatch.
  send(Ready{kProtocolVersion, ::getpid(), host_name()});
  if (hello.version != kProtocolVersion) return "has another protocol version (launcher and agent differ)";
  hello_ = hello;
  for (const std::int32_t number : hello.ignored_signals) sigaddset(&signals_.ignored_in_ranks, number);
  for (const std::int32_t number : hello.blocked_signals) sigaddset(&signals_.blocked_in_ranks, number);
  output_ = std::make_unique<Output>(reactor_, hello, static_cast<OutputObserver&>(*this));
  if (hello.stdin_readers > 0) {
    input_ = std::make_unique<Input>(reactor_, hello.stdin_readers);
  } else if (::dup2(dev_null_.get(), STDIN_FILENO) < 0) {
    throw os::OsError::last("dup2", "/dev/null");
  }
  return nullptr;
}

const char* Agent::handle(const PassFds& pass, std::optional<std::vector<os::UniqueFd>> fds) {
  if (!fds) {
    passed_fds_lost_ = true;
    return nullptr;
  }
  if (pass.fds.size() != fds->size()) return "has not the fds that it names";
  const std::uint64_t limit = os::fd_limit().hard;
  for (std::size_t i = 0; i < fds->size(); ++i) {
    const std::int32_t number = pass.fds[i];
    const auto is_same = [number](const auto& entry) { return entry.second == number; };
    if (number <= STDERR_FILENO || std::ranges::any_of(passed_fds_, is_same)) return "has a bad fd number";
    // The launcher may have opened it before its limit was lowered. Now no process can get this number.
    if (static_cast<std::uint64_t>(number) >= limit) {
      complain(
          "the caller's fd %d cannot be passed on to ranks: it is not below the limit on open files, %llu",
          number, static_cast<unsigned long long>(limit));
      continue;
    }
    passed_fds_.emplace_back(std::move((*fds)[i]), number);
  }
  // The next message may contain as many fds.
  os::make_room_for_fds(os::kMaxFdsPerMessage + kFdsToStart);
  return nullptr;
}

const char* Agent::handle(SocketFolder& folder) {
  // Ranks can spawn many process groups. The folders of groups that have ended no longer exist.
  if (socket_folders_.size() >= folders_to_check_) {
    std::erase_if(socket_folders_, [](const std::string& path) { return ::access(path.c_str(), F_OK) != 0; });
    folders_to_check_ = std::max(kFoldersToCheck, 2 * socket_folders_.size());
  }
  socket_folders_.push_back(std::move(folder.path));
  return nullptr;
}

const char* Agent::handle(Program& program) {
  return programs_.add(std::move(program)) ? nullptr : "has a part of a program that does not fit";
}

const char* Agent::handle(Start& spawn, std::optional<std::vector<os::UniqueFd>> fds) {
  std::size_t fds_named = 0;
  std::set<std::uint32_t> tasks;
  for (const StartRank& rank : spawn.ranks) {
    if (ranks_.running(rank.task) || !tasks.insert(rank.task).second) return "starts a rank that runs";
    if (rank.reads_stdin && !input_) return "has a reader of stdin that was not announced";
    std::set<std::int32_t> numbers;
    for (const std::int32_t number : rank.fds) {
      const auto is_same = [number](const auto& entry) { return entry.second == number; };
      if (number <= STDIN_FILENO || !numbers.insert(number).second ||
          std::ranges::any_of(passed_fds_, is_same)) {
        return "has a bad fd number";
      }
    }
    fds_named += rank.fds.size();
  }
  if (fds && fds_named != fds->size()) return "has not the fds that it names";
  if (spawn.ranks.empty()) {
    if (spawn.last) programs_.forget(spawn.program);
    return nullptr;
  }

  const Executable* program = nullptr;
  std::optional<os::OsError> failure;
  if (!fds || passed_fds_lost_) {
    failure = os::OsError(EMFILE, "recvmsg", "the ranks' fds, in wireup-agent");
  } else if (phase_ == Phase::serving) {
    os::make_room_for_fds(spawn.ranks.size() * kFdsPerRank + kFdsToStart + os::kMaxFdsPerMessage);
    try {
      if (!std::exchange(bound_, true)) binding_.plan(hello_->binding);
      program = programs_.find(spawn.program);
      if (program == nullptr) return "starts an unknown program";
    } catch (const os::OsError& error) {
      failure = error;
    }
  } else {
    failure = os::OsError(ECANCELED, "spawn", "the job is ending");
  }

  std::size_t next = 0;
  for (const StartRank& rank : spawn.ranks) {
    try {
      if (failure) throw *failure;
      std::vector<os::UniqueFd> own;
      for (std::size_t i = 0; i < rank.fds.size(); ++i) own.push_back(std::move((*fds)[next++]));
      start(rank, *program, std::move(own));
    } catch (const os::OsError& error) {
      if (rank.reads_stdin && input_) input_->give_up(rank.task);
      send(StartFailed{rank.task, error.code().value(), error.syscall(), error.subject()});
    }
  }
  if (spawn.last) programs_.forget(spawn.program);
  return nullptr;
}

void Agent::start(const StartRank& rank, const Executable& program, std::vector<os::UniqueFd> fds) {
  const RankNames names{rank.group, rank.rank, rank.node, rank.host.empty() ? host_name() : rank.host};
  os::FdPair input;
  if (rank.reads_stdin) input = os::make_pipe();

  os::ProcessSpec spec;
  spec.path = program.path;
  spec.args = program.args;
  spec.environment = runtime::merge_environment(program.environment, rank.environment);
  spec.directory = program.directory;
  spec.fds.emplace_back(rank.reads_stdin ? input.first.get() : dev_null_.get(), STDIN_FILENO);
  for (std::size_t i = 0; i < fds.size(); ++i) spec.fds.emplace_back(fds[i].get(), rank.fds[i]);
  for (const auto& [fd, number] : passed_fds_) spec.fds.emplace_back(fd.get(), number);
  std::array<os::UniqueFd, 2> opened;
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    if (std::ranges::count(rank.fds, fd) > 0) continue;
    os::UniqueFd& own = opened[static_cast<std::size_t>(fd - STDOUT_FILENO)];
    spec.fds.emplace_back(output_of(rank, names, fd, own), fd);
  }
  spec.new_session = true;
  spec.die_with_parent = true;
  spec.ignored_signals = signals_.ignored_in_ranks;
  spec.blocked_signals = signals_.blocked_in_ranks;
  spec.soft_files = hello_->soft_files == 0 ? os::unraised_soft_limit() : hello_->soft_files;
  spec.not_default = &signals_.not_default;
  spec.cpus = binding_.next();
  spec.join_fd = cgroup_.joining();
  if (rank.pretend_host) spec.host_name = rank.host;

  // Everything that can fail comes before start(), so that StartFailed is never sent for a running rank.
  if (rank.reads_stdin) input_->add(rank.task, std::move(input.second));
  const pid_t pid = ranks_.start(rank.task, spec);
  // The MPIR interface has no spawned process groups.
  if (rank.group == 0) table_.add(rank.rank, pid, program.path);
  send(Started{rank.task, pid, spec.cpus});
}

int Agent::output_of(const StartRank& rank, const RankNames& names, int fd, os::UniqueFd& opened) {
  const OutputMode mode =
      rank.silent ? OutputMode::discard : (fd == STDERR_FILENO ? hello_->err : hello_->out).mode;
  if (mode == OutputMode::discard) return dev_null_.get();
  // Ranks of a spawned process group never inherit it: their output is always joined.
  if (mode == OutputMode::inherit && rank.group == 0) {
    if (!refuses_to_wait(fd)) return fd;
    // Other processes share the open file, so its O_NONBLOCK flag is not changed. If it cannot be opened
    // again, such as a socket, the agent writes the rank's output to it.
    opened = open_again(fd, O_WRONLY);
    if (opened) return opened.get();
  }
  opened = output_->open(names, fd);
  return opened.get();
}

const char* Agent::handle(const Signal& signal) {
  if (signal.tasks.empty()) ranks_.signal_all(signal.signal);
  for (const std::uint32_t task : signal.tasks) ranks_.signal(task, signal.signal);
  return nullptr;
}

const char* Agent::handle(const Status& status) {
  output_->show_status(status.line);
  return nullptr;
}

// A second End can only shorten the grace period. After the ranks have ended, it limits how long the agent
// waits for readers of the output.
const char* Agent::handle(const End& end) {
  const auto when = os::Reactor::Clock::now() + std::chrono::milliseconds(end.grace_ms);
  if (phase_ == Phase::serving) {
    ranks_.end_all();
    reserve_.clear();
    phase_ = Phase::ending;
  } else if (phase_ == Phase::sweeping || phase_ == Phase::draining) {
    drop_output_at(when);
    return nullptr;
  } else if (phase_ != Phase::ending || when >= kill_at_) {
    return nullptr;
  }
  if (ranks_.none_running()) {
    sweep();
    return nullptr;
  }
  if (kill_timer_ != 0) reactor_.cancel(kill_timer_);
  kill_at_ = when;
  kill_timer_ = reactor_.at(when, [this] { kill_ranks(); });
  return nullptr;
}

// Repeats until the pidfds report that all ranks have ended. A rank that runs as another user cannot be
// signalled now, but perhaps later.
void Agent::kill_ranks() {
  kill_timer_ = 0;
  if (ranks_.none_running()) return;
  ranks_.signal_all(SIGKILL);
  cgroup_.kill();
  kill_timer_ = reactor_.after(kKillAgain, [this] { kill_ranks(); });
}

void Agent::on_rank_exit(std::uint32_t task, const os::ExitStatus& status, bool ended) {
  if (phase_ == Phase::abandoned) return;
  // If the rank writes to the agent's stdout itself, only its SIGPIPE shows that the reader has gone.
  if (status.signaled && status.value == SIGPIPE && hello_->out.mode == OutputMode::inherit && !ended &&
      is_broken(STDOUT_FILENO)) {
    on_output_lost(EPIPE, "stdout");
  }
  send(Exited{task, status.signaled, status.value, status.core_dumped, ended});
  if (input_) input_->remove(task);
  if (phase_ == Phase::ending && ranks_.none_running()) sweep();
}

void Agent::on_output_lost(int error, const std::string& subject) {
  if (phase_ != Phase::abandoned) send(OutputLost{error, subject});
}

void Agent::on_printed() {
  if (phase_ != Phase::abandoned) send(Printed{});
}

void Agent::sweep() {
  phase_ = Phase::sweeping;
  if (kill_timer_ != 0) reactor_.cancel(std::exchange(kill_timer_, 0));
  cgroup_.kill();
  descendants_.end([this] {
    phase_ = Phase::draining;
    output_->show_status({});
    if (drops_output_) output_->drop();
    output_->drain([this] { finish(); });
  });
}

void Agent::drop_output_at(os::Reactor::Clock::time_point when) {
  reactor_.at(when, [this] {
    drops_output_ = true;
    if (phase_ != Phase::draining) return;
    output_->drop();
    finish();
  });
}

void Agent::finish() {
  if (phase_ == Phase::draining) {
    phase_ = Phase::finished;
    exit_code_ = 0;
    send(Done{});
  }
  if (launcher_.flushed()) {
    reactor_.stop();
  } else {
    reactor_.after(kFlushCheck, [this] { finish(); });
  }
}

void Agent::on_message_end(int error) {
  // If the launcher was killed, no message is needed.
  if (error != 0 && error != ECONNRESET)
    complain("the launcher's socket: %s; ending all ranks", std::strerror(error));
  abandon();
}

void Agent::abandon() {
  if (phase_ == Phase::finished) {
    reactor_.stop();
    return;
  }
  if (phase_ == Phase::abandoned) return;
  phase_ = Phase::abandoned;
  reserve_.clear();
  if (kill_timer_ != 0) reactor_.cancel(std::exchange(kill_timer_, 0));
  kill_ranks();
  cgroup_.kill();
  input_.reset();
  if (output_) output_->drop();
  reactor_.after(kAbandonLimit, [this] { reactor_.stop(); });
  descendants_.end([this] { reactor_.stop(); });
}

void Agent::send(const Message& message) { launcher_.send(encode(message)); }

}  // namespace wireup::agent
