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
#include <type_traits>
#include <utility>
#include <vector>

#include "os/fd.h"
#include "os/message_socket.h"
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

  // Sends one message of the socket: a part of a packet, and the mark whether more follow
  // (runtime/local_link.h).
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
  void send_packet(const std::string& packet, const std::vector<int>& fds = {}) const {
    REQUIRE(packet.size() < os::kMaxMessage);
    send_bytes(packet + '\0', fds);
  }
  void send(const msg::Message& message, const std::vector<int>& fds = {}) const {
    send_packet(msg::encode(host, message), fds);
  }

  // The next message; empty at the end of the socket.
  std::optional<msg::Message> receive(int timeout_ms = kTimeoutMs) const {
    std::string packet;
    for (char more = 1; more != 0;) {
      REQUIRE(wait_readable(socket_.get(), timeout_ms));
      std::string part(os::kMaxMessage, '\0');
      const ssize_t size = ::recv(socket_.get(), part.data(), part.size(), 0);
      if (size <= 0) return std::nullopt;
      more = part[static_cast<std::size_t>(size) - 1];
      packet.append(part, 0, static_cast<std::size_t>(size) - 1);
    }
    const auto header = msg::read_header(packet);
    REQUIRE(header.has_value());
    if (!any_host) CHECK(header->host == host);
    auto message = msg::decode(packet);
    REQUIRE(message.has_value());
    return message;
  }
  // Whether no message waits, except Events.
  bool silent() {
    while (wait_readable(socket_.get(), 0)) {
      const auto message = receive();
      REQUIRE(message.has_value());
      if (!std::holds_alternative<msg::Events>(*message)) {
        early_.push_back(*message);
        return false;
      }
      keep(std::get<msg::Events>(*message));
    }
    return true;
  }

  // Expects a message of this type as the next one. Events that come before it are kept in `events`.
  template <typename T>
  T expect() {
    for (;;) {
      std::optional<msg::Message> message;
      if (early_.empty()) {
        message = receive();
      } else {
        message = std::move(early_.front());
        early_.pop_front();
      }
      REQUIRE(message.has_value());
      const auto* failed = std::get_if<msg::GroupFailed>(&*message);
      INFO("kind ", message->index(), failed != nullptr ? " " + failed->subject : "");
      if constexpr (!std::is_same_v<T, msg::Events>) {
        if (const auto* more = std::get_if<msg::Events>(&*message)) {
          keep(*more);
          continue;
        }
      }
      REQUIRE(std::holds_alternative<T>(*message));
      return std::get<T>(*message);
    }
  }
  // The next message that is not one of the types `Other`.
  template <typename T, typename... Other>
  T expect_beside() {
    for (;;) {
      auto message = receive();
      REQUIRE(message.has_value());
      if (auto* found = std::get_if<T>(&*message)) return std::move(*found);
      const bool other = (std::holds_alternative<Other>(*message) || ...);
      REQUIRE(other);
    }
  }
  // The next message is the end of the socket.
  void expect_end() {
    for (auto message = receive(); message.has_value(); message = receive()) {
      REQUIRE(std::holds_alternative<msg::Events>(*message));
      keep(std::get<msg::Events>(*message));
    }
  }

  // All events, without those that expect<Events>() has returned.
  std::vector<msg::EventRecord> events;

  // The number of the agent's host. If it is not 0, the test is the agent of host 0.
  std::uint32_t host = msg::kOwnHost;

  // Messages may come from other hosts, which are below the agent.
  bool any_host = false;
  void send_to(std::uint32_t other, const msg::Message& message) const {
    send_packet(msg::encode(other, message));
  }

  // The ranks that read the agent's stdin.
  std::vector<std::uint32_t> readers;

  static msg::Hello labelled() {
    return {.out = {msg::OutputMode::merge}, .err = {msg::OutputMode::merge}, .label = "[%r] "};
  }

  // A process group of ranks on one node, whose tasks begin with its number times kTasks.
  static constexpr std::uint32_t kTasks = 1000;
  static msg::Group group(std::uint32_t number = 0, std::uint32_t size = 256) {
    msg::Group result;
    result.number = number;
    result.first_task = number * kTasks;
    result.kvsname = "kvs" + std::to_string(number);
    result.layout = {{size, 0, 0}};
    result.nodes = {{}};
    result.allowed_uids = {{::geteuid(), ::geteuid()}};
    result.handshake_timeout_ms = 10'000;
    result.channel_fd = kChannelFd;
    return result;
  }
  static constexpr int kChannelFd = 20;
  void add(const msg::Group& added) {
    send(added);
    CHECK(expect<msg::GroupReady>().group == added.number);
  }

  // Also makes group 0.
  void hello(msg::Hello plans = {}) {
    greet(std::move(plans));
    msg::Group first = group();
    first.nodes = {{.host = host}};
    add(first);
  }
  void greet(msg::Hello plans = {}) {
    plans.host = host;
    plans.stdin_readers = static_cast<std::uint32_t>(readers.size());
    if (plans.kvs_limit == 0) plans.kvs_limit = 1 << 20;
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
    return start(msg::StartRank{.rank = rank, .program = id}, std::move(fds)).pid;
  }
  msg::Started start(msg::StartRank entry, std::vector<std::pair<int, int>> fds = {},
                     std::uint32_t in_group = 0) {
    const std::uint32_t task = in_group * kTasks + entry.rank;
    entry.reads_stdin = std::ranges::count(readers, task) > 0;
    std::vector<int> ours;
    for (const auto& [mine, number] : fds) {
      ours.push_back(mine);
      entry.fds.push_back(number);
    }
    send(msg::Start{in_group, {entry}}, ours);
    for (;;) {
      const auto message = receive();
      REQUIRE(message.has_value());
      if (const auto* started = std::get_if<msg::Started>(&*message)) {
        CHECK(started->task == task);
        return *started;
      }
      const bool other =
          std::holds_alternative<msg::Exited>(*message) || std::holds_alternative<msg::Events>(*message);
      REQUIRE(other);
      early_.push_back(*message);
    }
  }

  void end(std::uint32_t grace_ms = 0) const { send(msg::End{grace_ms}); }
  // Expects an orderly end.
  void finish() {
    send_to(msg::kEveryHost, msg::End{0});
    expect_done();
  }
  void expect_done() {
    expect<msg::Done>();
    expect_end();
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
  void keep(const msg::Events& more) { events.insert(events.end(), more.events.begin(), more.events.end()); }
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
