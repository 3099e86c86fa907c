// A launcher of one wireup-agent for tests: starts the real program and exchanges messages with it, each
// within a time limit.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/start_process.h"
#include "runtime/blocking.h"
#include "wire/agent_messages.h"

namespace wireup::test {

namespace msg = wire::agent;

// Returns whether a process ends within the time. A zombie has ended.
inline bool ends(pid_t pid, int timeout_ms = kTimeoutMs) {
  const os::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return !pidfd || wait_readable(pidfd.get(), timeout_ms);
}

inline bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

// Field 3 of /proc/<pid>/stat, or 0 if there is no such process.
inline char state_of(pid_t pid) {
  const os::UniqueFd file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  char buffer[512];
  const ssize_t size = file ? ::read(file.get(), buffer, sizeof(buffer)) : 0;
  if (size <= 0) return 0;
  const std::string text(buffer, static_cast<std::size_t>(size));
  return text[text.rfind(')') + 2];
}

class Driver {
 public:
  struct Stdio {
    int in = -1;  // /dev/null
    int out = 1;
    int err = 2;
  };

  Driver() : Driver(Stdio{}) {}
  explicit Driver(Stdio stdio, const std::vector<int>& ignored = {}) {
    os::FdPair pair = os::seqpacket_pair();
    os::ProcessSpec spec = agent(stdio, pair.second.get());
    for (const int number : ignored) sigaddset(&spec.ignored_signals, number);
    process_ = os::start_process(spec);
    take(std::move(pair.first));
  }
  // An agent that a child of this process has started; `process`, that child, ends with the agent's exit
  // code.
  Driver(os::UniqueFd socket, os::StartedProcess process) : process_(std::move(process)) {
    take(std::move(socket));
  }
  ~Driver() {
    hang_up();
    if (process_.pidfd && !status_) wait();
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // The spec of an agent whose launcher is at the other end of `socket`.
  static os::ProcessSpec agent(Stdio stdio, int socket) {
    static const os::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    os::ProcessSpec spec;
    spec.path = WIREUP_AGENT;
    spec.args = {"wireup-agent"};
    for (char** variable = environ; *variable != nullptr; ++variable)
      spec.environment.emplace_back(*variable);
    spec.fds = {{stdio.in < 0 ? null.get() : stdio.in, 0}, {stdio.out, 1}, {stdio.err, 2}, {socket, 3}};
    sigemptyset(&spec.ignored_signals);
    return spec;
  }

  pid_t pid() const { return process_.pid; }
  pid_t agent_pid() const { return agent_pid_; }  // after hello()
  int socket() const { return socket_.get(); }

  void send_bytes(std::string_view packet, const std::vector<int>& fds = {}) const {
    iovec part{const_cast<char*>(packet.data()), packet.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    if (!fds.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      cmsghdr* entry = CMSG_FIRSTHDR(&header);
      entry->cmsg_level = SOL_SOCKET;
      entry->cmsg_type = SCM_RIGHTS;
      entry->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(entry), fds.data(), fds.size() * sizeof(int));
    }
    REQUIRE(::sendmsg(socket_.get(), &header, MSG_NOSIGNAL) == static_cast<ssize_t>(packet.size()));
  }
  void send(const msg::Message& message, const std::vector<int>& fds = {}) const {
    send_bytes(msg::encode(message), fds);
  }

  // The next message; empty at the end of the socket.
  std::optional<msg::Message> receive(int timeout_ms = kTimeoutMs) const {
    REQUIRE(wait_readable(socket_.get(), timeout_ms));
    std::string packet(1 << 16, '\0');
    const ssize_t size = ::recv(socket_.get(), packet.data(), packet.size(), 0);
    if (size <= 0) return std::nullopt;
    packet.resize(static_cast<std::size_t>(size));
    auto message = msg::decode(packet);
    REQUIRE(message.has_value());
    return message;
  }
  bool silent() const { return !wait_readable(socket_.get(), 0); }

  template <typename T>
  T expect() {
    std::optional<msg::Message> message;
    if (early_.empty()) {
      message = receive();
    } else {
      message = std::move(early_.front());
      early_.pop_front();
    }
    REQUIRE(message.has_value());
    INFO("kind ", message->index());
    REQUIRE(std::holds_alternative<T>(*message));
    return std::get<T>(*message);
  }

  // The ranks that read the agent's stdin.
  std::vector<std::uint32_t> readers;

  static msg::Hello labelled() {
    return {.out = {msg::OutputMode::merge}, .err = {msg::OutputMode::merge}, .label = "[%r] "};
  }

  void hello(msg::Hello plans = {}) {
    plans.stdin_readers = static_cast<std::uint32_t>(readers.size());
    send(plans);
    const auto ready = expect<msg::Ready>();
    CHECK(ready.version == msg::kProtocolVersion);
    // The process that was started is the guard; the agent is its child.
    CHECK(ready.pid != pid());
    agent_pid_ = ready.pid;
    CHECK_FALSE(ready.host.empty());
  }

  void program(std::vector<std::string> args, std::uint32_t id = 0,
               std::vector<std::string> environment = {}) const {
    environment.push_back("PATH=/usr/bin:/bin");
    send(msg::Program{.id = id, .args = std::move(args), .environment = std::move(environment)});
  }
  void shell(const std::string& script, std::uint32_t id = 0) const { program({"sh", "-c", script}, id); }

  // Starts one rank of a program and returns its pid. Exits that are reported before that are kept for
  // expect().
  pid_t start(std::uint32_t rank, std::uint32_t id = 0, std::vector<std::pair<int, int>> fds = {}) {
    return start(msg::StartRank{.task = rank, .rank = rank}, id, std::move(fds)).pid;
  }
  msg::Started start(msg::StartRank entry, std::uint32_t id = 0, std::vector<std::pair<int, int>> fds = {}) {
    entry.environment.push_back("RANK=" + std::to_string(entry.rank));
    entry.reads_stdin = std::ranges::count(readers, entry.task) > 0;
    std::vector<int> ours;
    for (const auto& [mine, number] : fds) {
      ours.push_back(mine);
      entry.fds.push_back(number);
    }
    send(msg::Start{id, {entry}}, ours);
    for (;;) {
      const auto message = receive();
      REQUIRE(message.has_value());
      if (const auto* started = std::get_if<msg::Started>(&*message)) {
        CHECK(started->task == entry.task);
        return *started;
      }
      REQUIRE(std::holds_alternative<msg::Exited>(*message));
      early_.push_back(*message);
    }
  }

  void end(std::uint32_t grace_ms = 0) const { send(msg::End{grace_ms}); }
  // Expects an orderly end.
  void finish() {
    end();
    expect<msg::Done>();
    CHECK_FALSE(receive().has_value());
    CHECK(wait().value == 0);
  }

  void hang_up() { socket_.reset(); }

  os::ExitStatus wait(int timeout_ms = kTimeoutMs) {
    if (!status_) {
      REQUIRE(wait_readable(process_.pidfd.get(), timeout_ms));
      status_.emplace();
      REQUIRE(os::try_wait(process_.pidfd.get(), *status_));
    }
    return *status_;
  }

 private:
  void take(os::UniqueFd socket) {
    os::set_nonblocking(socket.get(), false);
    socket_ = std::move(socket);
  }

  os::UniqueFd socket_;
  std::deque<msg::Message> early_;
  os::StartedProcess process_;
  pid_t agent_pid_ = 0;
  std::optional<os::ExitStatus> status_;
};

}  // namespace wireup::test
