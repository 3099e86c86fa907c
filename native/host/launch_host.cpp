#include "host/launch_host.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "host/rank_environment.h"
#include "os/error.h"
#include "os/limits.h"

namespace wireup::host {
namespace {

using namespace wire::agent;

// Ranks named in one Spawn. Small enough that the server's turn comes often, and below the 253 fds that one
// message can carry.
constexpr std::uint32_t kSpawnBatch = 64;

// The agent finds its socket there.
constexpr int kAgentSocket = 3;

// Ranks named in one Signal: 64 KiB of a message that may hold 160.
constexpr std::size_t kSignalBatch = 16 << 10;

// Of a status line: wider than any terminal, and far below what a message may hold.
constexpr std::size_t kMaxStatus = 1000;

// How often we look whether a signal has stopped the agent. It is killed when two looks see it so: one may come
// when both were stopped together and only we have been let go on so far.
constexpr std::chrono::milliseconds kAgentCheck{500};

// Beside one fd a rank: the agent's socket and pidfd, listener, batches on their way, Node's own.
constexpr std::size_t kSpareFds = kSpawnBatch + 16;

// Makes room for what the job needs open, or says by how much the limit is too low.
void require_fds(const LaunchOptions& options) {
  const std::size_t ranks = options.job.layout.size();
  const std::size_t ours = ranks + kSpareFds;
  // The agent holds a pidfd a rank, and the read end of each pipe that it reads.
  const auto reads = [&](const OutputPlan& plan) {
    return plan.mode == OutputMode::merge || (plan.mode == OutputMode::file && !options.label.empty());
  };
  const std::size_t agents = ranks * (1U + (reads(options.out) ? 1U : 0U) + (reads(options.err) ? 1U : 0U)) + kSpareFds;
  const os::FdLimit limit = os::make_room_for_fds(ours);
  const std::size_t here = os::open_fds() + ours;
  const std::size_t needed = std::max(here, agents);
  if (limit.soft >= here && limit.hard >= needed) return;
  throw Fault{"ERR_PMI_FD_LIMIT",
              std::to_string(ranks) + " ranks need " + std::to_string(needed) +
                  " open files, but the limit is " + std::to_string(std::min(limit.soft, limit.hard)) + " (hard limit " +
                  std::to_string(limit.hard) + "): raise it with `ulimit -n` or start fewer ranks",
              EMFILE, "setrlimit"};
}

LaunchOptions checked(LaunchOptions options) {
  require_fds(options);
  return options;
}

os::UniqueFd open_null() {
  os::UniqueFd fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd) throw os::OsError::last("open", "/dev/null");
  return fd;
}

// Node ignores SIGPIPE and SIGXFSZ for itself; whatever else is ignored was meant to reach the ranks too.
sigset_t inherited_ignored_signals() {
  sigset_t ignored = os::ignored_signals();
  sigdelset(&ignored, SIGPIPE);
  sigdelset(&ignored, SIGXFSZ);
  return ignored;
}

}  // namespace

std::vector<os::FdPair> open_output_pipes(std::size_t count) {
  os::make_room_for_fds(2 * count + kSpareFds);
  std::vector<os::FdPair> pipes;
  pipes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) pipes.push_back(os::make_pipe());
  return pipes;
}

LaunchHost::LaunchHost(os::Reactor& reactor, LaunchOptions options, Handle handle, NoticeSink& sink,
                       std::function<void()> on_end)
    : reactor_(reactor),
      options_(checked(std::move(options))),
      handle_(handle),
      sink_(sink),
      on_end_(std::move(on_end)),
      outcome_(options_.job.layout.size(), options_.policy),
      server_(reactor, options_.job, options_.pmi == PmiMode::port ? options_.listen : ListenOptions{},
              [this](const job::Event& event) { on_event(event); }) {
  if (server_.address()) pmi_port_ = wire::to_pmi_port(*server_.address());
  start_agent();
  const auto readers = static_cast<std::uint32_t>(std::ranges::count(options_.stdin_readers, true));
  send(Hello{.out = options_.out,
             .err = options_.err,
             .label = options_.label,
             .stdin_readers = readers,
             .binding = options_.binding,
             .socket_folder = server_.private_folder()});
  debugged_.resize(options_.job.layout.size());
  for (const std::uint32_t rank : options_.debugged) debugged_.at(rank) = true;
  describe_programs();
  times_.resize(options_.job.layout.size());
  limit(options_.timeout, job::FailureReason::timeout);
  limit(options_.wireup_timeout, job::FailureReason::wireup);
  watch_agent();
  spawn_some();
}

LaunchHost::~LaunchHost() {
  if (timer_ != 0) reactor_.cancel(timer_);
  if (watch_ != 0) reactor_.cancel(watch_);
  for (const os::Reactor::TimerId id : limits_) reactor_.cancel(id);
}

// The program of an application, and the same under the debugger behind it.
std::uint32_t LaunchHost::program_of(std::uint32_t rank) const {
  return 2 * options_.job.layout.place(rank).appnum + (debugged_[rank] ? 1 : 0);
}

void LaunchHost::describe_programs() {
  for (std::uint32_t app = 0; app < options_.programs.size(); ++app) {
    if (!options_.debugged.empty()) {
      Program debugged = options_.programs[app];
      debugged.prefix.insert(debugged.prefix.begin(), options_.debugger.begin(), options_.debugger.end());
      describe_program(2 * app + 1, std::move(debugged));
    }
    describe_program(2 * app, std::move(options_.programs[app]));
  }
}

void LaunchHost::describe_program(std::uint32_t id, Program program) {
  program.id = id;
  std::vector<Program> parts = split(std::move(program), os::kMaxMessage);
  if (parts.empty()) throw os::OsError(E2BIG, "execve");
  for (Program& part : parts) send(std::move(part));
}

double LaunchHost::now() const {
  return std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - begin_).count();
}

void LaunchHost::limit(std::chrono::milliseconds delay, job::FailureReason reason) {
  if (delay == std::chrono::milliseconds::zero()) return;
  limits_.push_back(reactor_.after(delay, [this, delay, reason] {
    if (reason == job::FailureReason::wireup && wired_up()) return;
    outcome_.timed_out(reason, delay);
    judge();
    // Output that nobody takes does not hold it up for longer.
    limits_.push_back(reactor_.after(options_.grace, [this] { send_end(std::chrono::milliseconds::zero()); }));
  }));
}

// Whoever has come past its first barrier has been let go by all others.
bool LaunchHost::wired_up() const {
  const job::Job& job = server_.job();
  for (const RankTimes& times : times_) {
    if (times.initialized < 0) return false;
  }
  return job.barrier().number() > 0 || !job.barrier().under_way();
}

void LaunchHost::watch_agent() {
  watch_ = reactor_.after(kAgentCheck, [this] {
    watch_ = 0;
    if (!agent_) return;
    const bool stopped = agent_->stopped();
    if (stopped && agent_stopped_) return agent_->kill();
    agent_stopped_ = stopped;
    watch_agent();
  });
}

void LaunchHost::start_agent() {
  os::FdPair pair = os::seqpacket_pair();
  const os::UniqueFd null = open_null();
  os::SpawnSpec spec;
  spec.path = options_.agent;
  spec.args = {"wireup-agent"};
  spec.environment = options_.agent_environment;
  const int out = options_.pipes->out ? options_.pipes->out.get() : STDOUT_FILENO;
  const int err = options_.pipes->err ? options_.pipes->err.get() : STDERR_FILENO;
  const bool reads_stdin = std::ranges::count(options_.stdin_readers, true) > 0;
  spec.fds = {{reads_stdin ? STDIN_FILENO : null.get(), 0},
              {out, 1},
              {err, 2},
              {pair.second.get(), kAgentSocket}};
  spec.ignored_signals = inherited_ignored_signals();
  for (const std::int32_t number : options_.ignored_signals) sigaddset(&spec.ignored_signals, number);
  agent_ = std::make_unique<Process>(reactor_, spec, [this](const os::ExitStatus& status) { on_agent_exit(status); });
  socket_ = std::make_unique<os::MessageSocket>(reactor_, std::move(pair.first), *this);
  options_.pipes->out.reset();
  options_.pipes->err.reset();
}

void LaunchHost::send(const Message& message, std::vector<os::UniqueFd> fds) {
  if (socket_) socket_->send(encode(message), std::move(fds));
}

void LaunchHost::spawn_some() {
  const std::uint32_t size = options_.job.layout.size();
  if (outcome_.must_end() || asked_ == size) return;
  Spawn spawn{program_of(asked_), {}};
  std::vector<os::UniqueFd> fds;
  const std::uint32_t last = std::min(size, asked_ + kSpawnBatch);
  // A batch has one program, so it ends where that changes.
  for (; asked_ < last && program_of(asked_) == spawn.program; ++asked_) {
    try {
      spawn.ranks.push_back(describe_rank(asked_, fds));
    } catch (const os::OsError& error) {
      // The owner has opened files since room was made for ours.
      outcome_.spawn_failed(asked_, error.code().value(), error.what(), false);
      break;
    }
  }
  send(std::move(spawn), std::move(fds));
}

SpawnRank LaunchHost::describe_rank(std::uint32_t rank, std::vector<os::UniqueFd>& fds) {
  const job::Layout& layout = options_.job.layout;
  const RankPlace place{rank, layout.size(), layout.local_rank(rank), layout.local_size(rank)};
  SpawnRank result;
  result.rank = rank;
  result.node = layout.place(rank).node;
  if (options_.pmi == PmiMode::fd) {
    fds.push_back(server_.open_channel(rank));
    result.fds.push_back(kChannelFd);
    result.environment = channel_environment(place, kChannelFd);
  } else {
    result.environment = port_environment(place, pmi_port_, options_.job.auth.tokens[rank].text);
  }
  const auto attach = [&](std::vector<os::UniqueFd>& pipes, int number) {
    if (pipes.empty()) return;
    fds.push_back(std::move(pipes[rank]));
    result.fds.push_back(number);
  };
  attach(options_.pipes->rank_out, STDOUT_FILENO);
  attach(options_.pipes->rank_err, STDERR_FILENO);
  if (!options_.hosts.empty()) {
    result.host = options_.hosts[result.node];
    result.own_host = options_.own_hosts;
    // A name that is only pretended cannot be looked up.
    if (!options_.own_hosts) result.environment.push_back(host_environment(result.host));
  }
  result.reads_stdin = !options_.stdin_readers.empty() && options_.stdin_readers[rank];
  result.silent = !options_.silent.empty() && options_.silent[rank];
  return result;
}

void LaunchHost::on_message(std::string_view bytes, std::vector<os::UniqueFd>) {
  auto message = decode(bytes);
  const auto known = [&](std::uint32_t rank) { return rank < asked_; };
  if (!message) return on_message_end(EPROTO);
  if (const auto* ready = std::get_if<Ready>(&*message)) {
    // Not its guard, the process that we have started: that may go first.
    server_.started_by(ready->pid);
    sink_.notify(handle_, AgentReady{ready->pid, ready->host});
  } else if (auto* started = std::get_if<Started>(&*message); started != nullptr && known(started->rank)) {
    outcome_.started(started->rank, started->pid);
    times_[started->rank].started = now();
    server_.runs_as(started->rank, started->pid);
    sink_.notify(handle_, RankStarted{started->rank, started->pid, std::move(started->cpus)});
    ++answered_;
  } else if (const auto* failed = std::get_if<SpawnFailed>(&*message); failed != nullptr && known(failed->rank)) {
    outcome_.spawn_failed(failed->rank, failed->error,
                          failed->syscall + " " + failed->subject + ": " + std::strerror(failed->error),
                          failed->syscall == "execve");
    ++answered_;
  } else if (const auto* exit = std::get_if<Exited>(&*message); exit != nullptr && known(exit->rank)) {
    exited(*exit);
  } else if (const auto* lost = std::get_if<OutputLost>(&*message)) {
    outcome_.output_lost(lost->error, lost->subject);
  } else if (std::holds_alternative<Printed>(*message)) {
    sink_.notify(handle_, RanksPrinted{});
  } else if (std::holds_alternative<Done>(*message)) {
    done_ = true;
  }
  // The next batch is asked for when the agent has started the last: its fds are then out of the socket's
  // queue, whose bound on fds in flight is the file limit.
  if (answered_ == asked_) spawn_some();
  judge();
}

void LaunchHost::exited(const Exited& message) {
  job::RankOutcome how;
  how.signaled = message.signaled;
  how.value = message.value;
  how.core_dumped = message.core_dumped;
  how.ended = message.ended;
  times_[message.rank].exited = now();
  outcome_.exited(message.rank, how, os::Reactor::Clock::now());
  how = outcome_.rank(message.rank);
  sink_.notify(handle_, RankExited{message.rank, how});
}

void LaunchHost::on_event(const job::Event& event) {
  const auto rank = static_cast<std::uint32_t>(event.rank);
  switch (event.type) {
    case job::EventType::connected:
      times_[rank].connected = now();
      break;
    case job::EventType::initialized:
      times_[rank].initialized = now();
      outcome_.initialized(rank);
      break;
    case job::EventType::barrier:
      ++barriers_;
      if (barrier_times_.size() < kMaxBarrierTimes) barrier_times_.push_back(now());
      break;
    case job::EventType::finalized:
      times_[rank].finalized = now();
      outcome_.finalized(rank);
      break;
    case job::EventType::aborted:
      outcome_.aborted(rank, event.exit_code, event.message,
                       event.in_barrier ? std::optional(event.barrier) : std::nullopt);
      break;
    case job::EventType::disconnected:
      outcome_.disconnected(rank, event.lost, event.in_barrier ? std::optional(event.barrier) : std::nullopt,
                            os::Reactor::Clock::now());
      break;
    case job::EventType::stuck:
      outcome_.stuck(rank, event.barrier);
      break;
    case job::EventType::rejected:
    case job::EventType::protocol_error:
      break;
  }
  sink_.notify(handle_, event);
  judge();
}

void LaunchHost::judge() {
  for (const std::uint32_t rank : outcome_.take_departed()) server_.depart(rank);
  const auto& failure = outcome_.failure();
  if (failure && !failure_status_ &&
      (failure->reason == job::FailureReason::early || failure->reason == job::FailureReason::timeout ||
       failure->reason == job::FailureReason::wireup)) {
    failure_status_ = server_.job().status();
    departed_ = server_.job().departed();
  }
  if (outcome_.must_end()) {
    end(options_.grace);
  } else if (asked_ == options_.job.layout.size() && answered_ == asked_ && outcome_.settled()) {
    end(std::chrono::milliseconds::zero());
  }
  arm_timer();
}

void LaunchHost::end(std::chrono::milliseconds grace) {
  if (!std::exchange(end_sent_, true)) send_end(grace);
}

void LaunchHost::send_end(std::chrono::milliseconds grace) {
  send(End{static_cast<std::uint32_t>(grace.count())});
}

void LaunchHost::signal(std::int32_t signal, const std::vector<std::uint32_t>& ranks) {
  outcome_.forwarded(signal);
  if (ranks.empty()) return send(Signal{signal, {}});
  for (auto first = ranks.begin(); first != ranks.end();) {
    const auto left = static_cast<std::size_t>(ranks.end() - first);
    const auto last = first + static_cast<std::ptrdiff_t>(std::min(left, kSignalBatch));
    send(Signal{signal, {first, last}});
    first = last;
  }
}

void LaunchHost::show_status(std::string line) {
  line.resize(std::min(line.size(), kMaxStatus));
  send(Status{std::move(line)});
}

void LaunchHost::stop(std::chrono::milliseconds grace) {
  outcome_.stopped();
  // Said again even where the job is ending: the agent takes the shorter grace.
  end_sent_ = true;
  send_end(grace);
}

void LaunchHost::abandon() {
  outcome_.stopped();
  if (!socket_) return;
  socket_.reset();
  if (!agent_) finish();
}

void LaunchHost::arm_timer() {
  if (timer_ != 0) reactor_.cancel(timer_);
  timer_ = 0;
  const auto due = outcome_.deadline();
  if (!due) return;
  timer_ = reactor_.at(*due, [this] {
    timer_ = 0;
    outcome_.tick(os::Reactor::Clock::now());
    judge();
  });
}

void LaunchHost::on_message_end(int error) {
  socket_.reset();
  if (!done_) outcome_.agent_lost(error, {});
  arm_timer();
  if (!agent_) finish();
}

void LaunchHost::on_agent_exit(const os::ExitStatus& status) {
  const std::string who = "wireup-agent (pid " + std::to_string(agent_->pid()) + ") ";
  if (status.signaled ? agent_stopped_ : status.value == kExitStopped) {
    outcome_.agent_lost(0, who + "was stopped by a signal and had to be killed");
  } else if (status.signaled) {
    outcome_.agent_lost(0, who + "was killed by signal " + std::to_string(status.value) + " (" +
                               strsignal(status.value) + ")");
  } else if (status.value != 0) {
    outcome_.agent_lost(0, who + "ended with code " + std::to_string(status.value));
  }
  agent_.reset();
  // Its last messages may still lie in the socket: the end of that decides.
  if (!socket_) finish();
}

void LaunchHost::finish() {
  if (outcome_.failure() && outcome_.failure()->reason == job::FailureReason::agent) {
    // It ended before the job did, and its exit says nothing of it.
    if (outcome_.failure()->message.empty()) outcome_.agent_lost(0, "wireup-agent left before the job had ended");
  }
  const job::Job& job = server_.job();
  std::vector<job::RankState> states;
  for (std::uint32_t rank = 0; rank < job.size(); ++rank) states.push_back(job.rank_state(rank));
  sink_.notify(handle_, LaunchResult{.exit_code = outcome_.exit_code(),
                                     .failure = outcome_.failure(),
                                     .status = failure_status_,
                                     .departed = departed_,
                                     .duration = now(),
                                     .barriers = barriers_,
                                     .barrier_times = barrier_times_,
                                     .victims = outcome_.victims(),
                                     .ranks = outcome_.ranks(),
                                     .states = std::move(states),
                                     .times = times_});
  on_end_();
}

}  // namespace wireup::host
