#include "tools/bench/swarm.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <iostream>
#include <string_view>
#include <vector>

#include "tools/bench/table.h"
#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

// One local address has 28,232 ports by default (ip_local_port_range). 127.0.0.0/8 has more addresses than
// needed.
constexpr std::uint32_t kRanksPerAddress = 20'000;
// Connections that are made before the server's replies are read.
constexpr std::uint32_t kConnectBatch = 32;

class Swarm {
 public:
  Swarm(Table& table, const std::string& port, const std::vector<std::string>& ids, std::uint32_t first,
        std::uint32_t end)
      : table_(table), script_(table.script), port_(port), ids_(ids), first_(first), ranks_(end - first) {
    epoll_ = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    slot_ = table_.take(end - first);
  }

  void run() {
    if (script_.mode == Mode::connect) {
      table_.pass(table_.gates[0], count());
      connect_all();
      until_all_rest();
    } else {
      connect_all();
      until_all_rest();
      table_.pass(table_.gates[0], count());
      for (std::uint32_t i = 0; i < count(); ++i) begin(i);
      until_all_rest();
    }
    table_.pass(table_.gates[1], count());
    for (const Rank& rank : ranks_) send(rank.socket, kFinalize);
    // close(2) with unread bytes would reset the connection.
    char buffer[kMaxRequest];
    for (const Rank& rank : ranks_)
      check(static_cast<int>(::recv(rank.socket, buffer, sizeof buffer, 0)), "recv");
  }

 private:
  enum class Phase : std::uint8_t { initack, hello, before, timed };

  struct Rank {
    int socket = -1;
    Phase phase = Phase::initack;
    std::uint32_t step = 0;
    std::uint32_t marks = 0;
  };

  std::uint32_t count() const { return static_cast<std::uint32_t>(ranks_.size()); }

  void mark(std::uint32_t index) { table_.slot(slot_ + index)[1 + ranks_[index].marks++] = now_ns(); }

  int open_socket(std::uint32_t rank) const {
    constexpr std::string_view kUnix = "unix://";
    if (port_.starts_with(kUnix)) {
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      port_.copy(address.sun_path, sizeof address.sun_path - 1, kUnix.size());
      const int fd = check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
      check(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
      return fd;
    }
    const std::size_t colon = port_.rfind(':');
    const int fd = check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    // connect(2) chooses the port, so a port can be used for several peers.
    ::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + rank / kRanksPerAddress);
    check(::bind(fd, reinterpret_cast<sockaddr*>(&own), sizeof own), "bind");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port_.substr(colon + 1))));
    ::inet_pton(AF_INET, port_.substr(0, colon).c_str(), &address.sin_addr);
    check(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), "connect");
    return fd;
  }

  void connect_all() {
    for (std::uint32_t i = 0; i < count(); ++i) {
      if (script_.mode == Mode::connect) mark(i);
      ranks_[i].socket = open_socket(first_ + i);
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = i;
      check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, ranks_[i].socket, &event), "epoll_ctl");
      send(ranks_[i].socket, "cmd=initack pmiid=" + ids_[first_ + i] + "\n");
      if (i % kConnectBatch == 0) listen(0);
    }
  }

  void until_all_rest() {
    while (resting_ < count()) listen(-1);
    resting_ = 0;
  }

  void listen(int wait_ms) {
    constexpr int kEvents = 256;
    epoll_event events[kEvents];
    const int ready = ::epoll_wait(epoll_, events, kEvents, wait_ms);
    for (int i = 0; i < ready; ++i) received(events[i].data.u32);
  }

  void received(std::uint32_t index) {
    char buffer[kMaxRequest];
    const ssize_t got = ::recv(ranks_[index].socket, buffer, sizeof buffer, 0);
    if (got <= 0) {
      errno = got == 0 ? ECONNRESET : errno;
      check(-1, "recv");
    }
    answered(index, {buffer, static_cast<std::size_t>(got)});
  }

  void answered(std::uint32_t index, std::string_view answer) {
    Rank& rank = ranks_[index];
    char request[kMaxRequest];
    switch (rank.phase) {
      case Phase::initack:
        rank.phase = Phase::hello;
        return send(rank.socket, kHello[0]);
      case Phase::hello:
        if (++rank.step < kHelloSteps) return send(rank.socket, kHello[rank.step]);
        if (!read_name(answer.data(), answer.size(), name_)) {
          errno = EPROTO;
          check(-1, "get_my_kvsname");
        }
        rank.phase = Phase::before;
        rank.step = 0;
        break;
      case Phase::before:
        ++rank.step;
        break;
      case Phase::timed:
        if (script_.is_marked(rank.step)) mark(index);
        return next(index, rank.step + 1);
    }
    if (rank.step < script_.steps_before()) {
      return send(rank.socket,
                  {request, script_.write_request_before(request, rank.step, first_ + index, name_)});
    }
    if (script_.mode == Mode::connect) mark(index);
    ++resting_;
  }

  void begin(std::uint32_t index) {
    ranks_[index].phase = Phase::timed;
    mark(index);
    next(index, 0);
  }

  void next(std::uint32_t index, std::uint32_t step) {
    ranks_[index].step = step;
    if (step == script_.steps()) {
      ++resting_;
      return;
    }
    char request[kMaxRequest];
    send(ranks_[index].socket, {request, script_.write_request(request, step, first_ + index, name_)});
  }

  static void send(int socket, std::string_view request) {
    if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) < 0) check(-1, "send");
  }

  Table& table_;
  Script script_;
  const std::string& port_;
  const std::vector<std::string>& ids_;
  std::uint32_t first_;
  std::vector<Rank> ranks_;
  std::uint32_t slot_;
  int epoll_;
  std::uint32_t resting_ = 0;
  char name_[kMaxName] = "";
};

}  // namespace

int swarm(const std::string& port, std::uint32_t processes) {
  raise_fd_limit();
  Table* table = Table::inherited();
  if (table == nullptr) check(-1, kTableVariable);
  const std::uint32_t size = table->script.size;
  std::vector<std::string> ids(size);
  for (std::string& id : ids) std::getline(std::cin, id);
  for (std::uint32_t i = 0; i < processes; ++i) {
    const auto begin_of = [&](std::uint32_t part) {
      return static_cast<std::uint32_t>(std::uint64_t{size} * part / processes);
    };
    if (check(::fork(), "fork") != 0) continue;
    Swarm(*table, port, ids, begin_of(i), begin_of(i + 1)).run();
    std::_Exit(0);
  }
  int failed = 0;
  for (int status; ::wait(&status) > 0;) failed |= status;
  return failed == 0 ? 0 : 1;
}

}  // namespace wireup::bench
