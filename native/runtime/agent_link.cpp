#include "runtime/agent_link.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "os/error.h"
#include "os/start_process.h"
#include "runtime/local_link.h"

namespace wireup::runtime {
namespace {

// The number of the agent's socket in the agent.
constexpr int kAgentSocket = 3;

// The interval of the checks whether a signal has stopped the agent. It is killed after two checks in a row
// that find it stopped. After one, agent and launcher may have been stopped together, and the launcher was
// continued first.
constexpr std::chrono::milliseconds kAgentCheck{500};

// An agent without ranks ends within milliseconds of its socket's end.
constexpr std::chrono::milliseconds kUnusedLimit{2000};

os::UniqueFd open_null() {
  os::UniqueFd fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!fd) throw os::OsError::last("open", "/dev/null");
  return fd;
}

// Node ignores SIGPIPE and SIGXFSZ for itself. The caller ignores the others, and ranks are to inherit that.
sigset_t inherited_ignored_signals() {
  sigset_t ignored = os::ignored_signals();
  sigdelset(&ignored, SIGPIPE);
  sigdelset(&ignored, SIGXFSZ);
  return ignored;
}

}  // namespace

AgentLink::AgentLink(os::Reactor& reactor, Reaper& reaper, const AgentOptions& options) : reactor_(reactor) {
  os::FdPair pair = os::seqpacket_pair();
  os::UniqueFd null;
  if (fcntl(STDIN_FILENO, F_GETFD) < 0) null = open_null();
  os::ProcessSpec spec;
  spec.path = options.path;
  spec.args = {"wireup-agent"};
  spec.environment = options.environment;
  spec.fds = {{null ? null.get() : STDIN_FILENO, STDIN_FILENO},
              {options.out < 0 ? STDOUT_FILENO : options.out, STDOUT_FILENO},
              {options.err < 0 ? STDERR_FILENO : options.err, STDERR_FILENO},
              {pair.second.get(), kAgentSocket}};
  spec.ignored_signals = inherited_ignored_signals();
  process_ = std::make_unique<ChildProcess>(reactor_, reaper, spec,
                                            [this](const os::ExitStatus& status) { exited(status); });
  link_ = std::make_unique<LocalLink>(reactor_, std::move(pair.first), static_cast<LinkObserver&>(*this));
  watch();
}

AgentLink::~AgentLink() {
  reactor_.cancel(watch_);
  hang_up();
  if (process_ && !has_ranks_) process_->give_up(kUnusedLimit);
}

void AgentLink::watch() {
  watch_ = reactor_.after(kAgentCheck, [this] {
    watch_ = 0;
    if (!process_) return;
    const bool stopped = process_->stopped();
    if (stopped && stopped_ && link_) return process_->kill();
    // Without its agent the guard still has work to do: it kills what the agent has left.
    if (stopped && stopped_) process_->go_on();
    stopped_ = stopped && !stopped_;
    watch();
  });
}

void AgentLink::send(std::uint32_t host, const wire::agent::Message& message, std::vector<os::UniqueFd> fds) {
  has_ranks_ = has_ranks_ || std::holds_alternative<wire::agent::Start>(message);
  if (link_) link_->send(wire::agent::encode(host, message), std::move(fds));
}

bool AgentLink::hang_up() { return std::exchange(link_, nullptr) != nullptr; }

void AgentLink::on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>>) {
  const auto header = wire::agent::read_header(packet);
  auto message = wire::agent::decode(packet);
  if (!header || !message) return end(EPROTO);
  if (observer_ != nullptr) observer_->on_agent_message(header->host, *message);
}

void AgentLink::on_link_end(LinkEnd why, int error, const std::string&) {
  end(why == LinkEnd::closed || why == LinkEnd::failed ? error : EPROTO);
}

void AgentLink::end(int error) {
  link_.reset();
  if (observer_ != nullptr) observer_->on_agent_silent(error);
}

void AgentLink::exited(const os::ExitStatus& status) {
  const std::string agent = "wireup-agent (pid " + std::to_string(process_->pid()) + ") ";
  std::string fault;
  if (status.signaled ? stopped_ : status.value == wire::agent::kExitStopped) {
    fault = agent + "was stopped by a signal and had to be killed";
  } else if (!status.signaled && status.value == wire::agent::kExitHung) {
    fault = agent + "did not respond and had to be killed";
  } else if (status.signaled) {
    fault =
        agent + "was killed by signal " + std::to_string(status.value) + " (" + strsignal(status.value) + ")";
  } else if (status.value != 0) {
    fault = agent + "ended with code " + std::to_string(status.value);
  }
  process_.reset();
  if (observer_ != nullptr) observer_->on_agent_exit(fault);
}

}  // namespace wireup::runtime
