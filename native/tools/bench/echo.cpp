#include "tools/bench/echo.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tools/bench/script.h"
#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

// As long as wireup's replies, with a name of 16 digits.
constexpr std::string_view kInitReply = "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n";
constexpr std::string_view kMaxes = "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n";
constexpr std::string_view kAppnum = "cmd=appnum appnum=0\n";
constexpr std::string_view kName = "cmd=my_kvsname kvsname=wireup-0123456789abcdef\n";
constexpr std::string_view kPutResult = "cmd=put_result rc=0 msg=success\n";
constexpr std::string_view kBarrierOut = "cmd=barrier_out\n";
constexpr std::string_view kFinalizeAck = "cmd=finalize_ack\n";

class Server {
 public:
  Server(Transport transport, std::uint32_t size) : transport_(transport), size_(size) {
    epoll_ = check(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    get_result_ = "cmd=get_result rc=0 msg=success value=" + std::string(kCard, 'x') + "\n";
    initack_ = "cmd=initack\ncmd=set size=" + std::to_string(size) + "\ncmd=set rank=";
    if (transport == Transport::tcp) listen_tcp();
    if (transport == Transport::unix_socket) listen_unix();
  }

  ~Server() {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  const std::string& port() const { return port_; }

  void add(int socket) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
    if (socket != listener_) sockets_.push_back(socket);
  }

  void serve() {
    // At most this many in one turn.
    constexpr int kEvents = 256;
    epoll_event events[kEvents];
    while (ended_ < size_) {
      const int count = ::epoll_wait(epoll_, events, kEvents, -1);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.fd == listener_) {
          accept();
        } else {
          read(events[i].data.fd);
        }
      }
    }
  }

 private:
  void listen_tcp() {
    listener_ = check(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length), "bind");
    check(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
    check(::listen(listener_, SOMAXCONN), "listen");
    port_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    add(listener_);
  }

  void listen_unix() {
    std::string folder = (std::filesystem::temp_directory_path() / "wireup-bench-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) check(-1, "mkdtemp");
    folder_ = folder;
    listener_ = check(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = folder + "/pmi";
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), "bind");
    check(::listen(listener_, SOMAXCONN), "listen");
    port_ = "unix://" + path;
    add(listener_);
  }

  void accept() {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) return;
    const int on = 1;
    if (transport_ == Transport::tcp) ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    add(socket);
  }

  void read(int socket) {
    char buffer[64 << 10];
    const ssize_t count = ::recv(socket, buffer, sizeof buffer, 0);
    if (count <= 0) {
      ::close(socket);
      ++ended_;
      return;
    }
    answer(socket, {buffer, static_cast<std::size_t>(count)});
  }

  static void send(int socket, std::string_view reply) {
    ::send(socket, reply.data(), reply.size(), MSG_NOSIGNAL);
  }

  // Compares as few letters as possible.
  void answer(int socket, std::string_view line) {
    switch (line[4]) {
      case 'b':
        if (++inside_ < size_) return;
        inside_ = 0;
        for (const int each : sockets_) send(each, kBarrierOut);
        return;
      case 'p':
        return send(socket, kPutResult);
      case 'f':
        return send(socket, kFinalizeAck);
      case 'i':
        if (line.starts_with("cmd=init ")) return send(socket, kInitReply);
        return send(socket, initack_ + std::string(line.substr(line.rfind('=') + 1)) + "cmd=set debug=0\n");
      default:
        if (line[7] == ' ') return send(socket, get_result_);
        if (line[8] == 'a') return send(socket, kAppnum);
        return send(socket, line[9] == 'a' ? kMaxes : kName);
    }
  }

  Transport transport_;
  std::uint32_t size_;
  int epoll_;
  int listener_ = -1;
  std::string folder_;
  std::string port_;
  std::string get_result_;
  std::string initack_;
  std::vector<int> sockets_;
  std::uint32_t inside_ = 0;
  std::uint32_t ended_ = 0;
};

// The child's fd of its end of the pair.
constexpr int kChildFd = 3;

void start(Server& server, Transport transport, std::uint32_t rank, std::uint32_t size, char** command) {
  const std::string number = std::to_string(rank);
  const std::string of = std::to_string(size);
  ::setenv("PMI_RANK", number.c_str(), 1);
  ::setenv("PMI_SIZE", of.c_str(), 1);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  int pair[2] = {-1, -1};
  if (transport == Transport::fd) {
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    ::posix_spawn_file_actions_adddup2(&actions, pair[1], kChildFd);
    ::setenv("PMI_FD", std::to_string(kChildFd).c_str(), 1);
    server.add(pair[0]);
  } else {
    ::setenv("PMI_PORT", server.port().c_str(), 1);
    ::setenv("PMI_ID", number.c_str(), 1);
  }
  pid_t pid;
  const int error = ::posix_spawnp(&pid, command[0], &actions, nullptr, command, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (pair[1] >= 0) ::close(pair[1]);
  if (error != 0) {
    errno = error;
    check(-1, command[0]);
  }
}

}  // namespace

int echo(Transport transport, std::uint32_t size, char** command) {
  raise_fd_limit();
  Server server(transport, size);
  if (command[0] == nullptr) {
    std::printf("%s\n", server.port().c_str());
    std::fflush(stdout);
  } else {
    for (std::uint32_t rank = 0; rank < size; ++rank) start(server, transport, rank, size, command);
  }
  server.serve();
  int failed = 0;
  for (int status; ::wait(&status) > 0;) failed |= status;
  return failed == 0 ? 0 : 1;
}

}  // namespace wireup::bench
