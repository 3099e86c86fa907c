// wireup-bench-client: one rank that behaves as an unmodified PMI-1 client: it sends a request by one write
// and waits for the reply. It runs under any launcher, and under the echo floor. The conductor's table
// (table.h) defines its requests and receives its times. It shares no code with the library that it measures.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tools/bench/table.h"

namespace {

using namespace wireup::bench;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "wireup-bench-client: %s: %s\n", what,
               errno == 0 ? "no such answer was expected" : std::strerror(errno));
  std::exit(1);
}

struct Answer {
  const char* text;
  std::size_t size;
};

class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}

  // The reply ends after `lines` newlines. It is valid until the next request.
  Answer ask(const char* request, std::size_t size, int lines = 1) {
    if (::send(fd_, request, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) fail("send");
    std::size_t got = 0;
    for (;;) {
      const ssize_t count = ::recv(fd_, buffer_ + got, sizeof buffer_ - 1 - got, 0);
      if (count < 0 && errno == EINTR) continue;
      errno = count == 0 ? ECONNRESET : errno;
      if (count <= 0) fail("recv");
      for (ssize_t i = 0; i < count; ++i) lines -= buffer_[got + static_cast<std::size_t>(i)] == '\n' ? 1 : 0;
      got += static_cast<std::size_t>(count);
      if (lines <= 0) break;
    }
    buffer_[got] = '\0';
    return {buffer_, got};
  }

  Answer ask(const char* request, int lines = 1) { return ask(request, std::strlen(request), lines); }

 private:
  int fd_;
  char buffer_[kMaxRequest];
};

int connect_unix(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) fail(path);
  std::memcpy(address.sun_path, path, length + 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail("connect");
  return fd;
}

// `port` is host:port, as MPICH reads it.
int connect_tcp(const char* port) {
  const char* colon = std::strchr(port, ':');
  char host[256];
  if (colon == nullptr || static_cast<std::size_t>(colon - port) >= sizeof host) fail(port);
  std::memcpy(host, port, static_cast<std::size_t>(colon - port));
  host[colon - port] = '\0';
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host, colon + 1, &hints, &found) != 0) fail("getaddrinfo");
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || ::connect(fd, found->ai_addr, found->ai_addrlen) < 0) fail("connect");
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::freeaddrinfo(found);
  return fd;
}

int reach(const char* inherited) {
  if (inherited != nullptr) return std::atoi(inherited);
  constexpr char kUnix[] = "unix://";
  const char* port = std::getenv("PMI_PORT");
  if (port == nullptr) fail("neither PMI_FD nor PMI_PORT");
  return std::strncmp(port, kUnix, sizeof kUnix - 1) == 0 ? connect_unix(port + sizeof kUnix - 1)
                                                          : connect_tcp(port);
}

void expect_success(const Answer& answer) {
  errno = 0;
  if (std::strstr(answer.text, " rc=0") == nullptr && std::strncmp(answer.text, "cmd=barrier_out", 15) != 0)
    fail(answer.text);
}

}  // namespace

int main() {
  Table* table = Table::inherited();
  if (table == nullptr) fail(kTableVariable);
  const Script script = table->script;
  std::int64_t* time = table->slot(table->take(1)) + 1;
  const char* inherited = std::getenv("PMI_FD");
  const char* rank_text = std::getenv("PMI_RANK");
  unsigned rank = rank_text == nullptr ? 0 : static_cast<unsigned>(std::atoi(rank_text));
  char name[kMaxName];
  char request[kMaxRequest];

  if (script.mode == Mode::connect) {
    table->pass(table->gates[0], 1);
    *time++ = now_ns();
  }
  Connection connection(reach(inherited));
  if (inherited == nullptr) {
    std::snprintf(request, sizeof request, "cmd=initack pmiid=%s\n", std::getenv("PMI_ID"));
    const char* set = std::strstr(connection.ask(request, kInitackLines).text, "cmd=set rank=");
    errno = 0;
    if (set == nullptr || std::sscanf(set, "cmd=set rank=%u", &rank) != 1) fail("initack");
  }
  for (std::uint32_t i = 0; i + 1 < kHelloSteps; ++i) connection.ask(kHello[i]);
  const Answer named = connection.ask(kHello[kHelloSteps - 1]);
  errno = 0;
  if (!read_name(named.text, named.size, name)) fail(named.text);
  for (std::uint32_t i = 0; i < script.steps_before(); ++i) {
    expect_success(connection.ask(request, script.write_request_before(request, i, rank, name)));
  }

  if (script.mode != Mode::connect) {
    table->pass(table->gates[0], 1);
    *time++ = now_ns();
    for (std::uint32_t i = 0; i < script.steps(); ++i) {
      expect_success(connection.ask(request, script.write_request(request, i, rank, name)));
      if (script.is_marked(i)) *time++ = now_ns();
    }
  } else {
    *time++ = now_ns();
  }
  table->pass(table->gates[1], 1);
  connection.ask(kFinalize);
  return 0;
}
