// A stand-in for wireup-agent that starts no process, so that a test can run hundreds of launches a second.
// It plays the agents of all hosts and reports every rank as started. A rank of a spawned group exits with 0
// at once; a rank of group 0 runs until the launcher ends the job, or exits with 7 when it is sent a signal.
//
// If the environment has WIREUP_STUB_SOCKET, it passes all messages on between the launcher and the abstract
// socket of that name instead: a test plays the agents itself.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include "wire/agent_messages.h"

namespace {

using namespace wireup::wire::agent;

constexpr int kSocket = 3;
constexpr std::int32_t kFirstPid = 1 << 30;  // above every process id of Linux
constexpr std::int32_t kExitCode = 7;
constexpr std::size_t kBuffer = 1 << 18;

// The last byte of a message is 1 if the packet goes on in the next one, else 0 (runtime/local_link.h).
void send(std::uint32_t host, const Message& message) {
  const std::string packet = encode(host, message) + '\0';
  (void)::send(kSocket, packet.data(), packet.size(), MSG_NOSIGNAL);
}

// Returns false at the end.
bool receive(std::string& packet) {
  static std::string buffer(kBuffer, '\0');
  packet.clear();
  for (;;) {
    const ssize_t size = ::recv(kSocket, buffer.data(), buffer.size(), 0);
    if (size <= 0) return false;
    packet.append(buffer, 0, static_cast<std::size_t>(size) - 1);
    if (buffer[static_cast<std::size_t>(size) - 1] == 0) return true;
  }
}

int play() {
  struct Task {
    std::uint32_t host;
    std::uint32_t group;
  };
  std::map<std::uint32_t, Task> running;
  std::map<std::uint32_t, Group> groups;
  std::string packet;
  while (receive(packet)) {
    const auto header = read_header(packet);
    const auto message = decode(packet);
    if (!header || !message) return 1;
    const std::uint32_t host = header->host;
    if (std::holds_alternative<Hello>(*message)) {
      if (host == kOwnHost) send(host, Ready{.pid = ::getpid(), .host = "host"});
    } else if (const auto* other = std::get_if<StartHost>(&*message)) {
      send(other->host, Ready{.pid = ::getpid(), .host = other->name});
    } else if (const auto* group = std::get_if<Group>(&*message)) {
      groups[group->number] = *group;
      send(host, GroupReady{group->number});
    } else if (const auto* start = std::get_if<Start>(&*message)) {
      for (const StartRank& rank : start->ranks) {
        const std::uint32_t task = groups[start->group].first_task + rank.rank;
        send(host, Started{task, kFirstPid + static_cast<std::int32_t>(task), {}});
        if (start->group == 0) {
          running[task] = {host, start->group};
        } else {
          send(host, Exited{.task = task});
        }
      }
    } else if (const auto* query = std::get_if<QueryStatus>(&*message)) {
      send(host, StatusReply{query->id, {}});
    } else if (std::holds_alternative<Signal>(*message)) {
      for (auto task = running.begin(); task != running.end();) {
        if (task->second.host != host) {
          ++task;
          continue;
        }
        send(host, Exited{.task = task->first, .value = kExitCode});
        task = running.erase(task);
      }
    } else if (std::holds_alternative<End>(*message)) {
      for (const auto& [task, where] : running)
        send(where.host, Exited{.task = task, .signaled = true, .value = 9, .ended = true});
      send(kOwnHost, Done{});
      return 0;
    }
  }
  return 0;
}

int connect_to(const char* name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t size = std::strlen(name);
  if (size >= sizeof address.sun_path) return -1;
  std::memcpy(address.sun_path + 1, name, size);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0 ? fd : -1;
}

// File descriptors are received and passed on with the message.
bool pass_on(int from, int to) {
  static std::string buffer(kBuffer, '\0');
  alignas(cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))];
  iovec part{buffer.data(), buffer.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = ::recvmsg(from, &message, 0);
  if (size <= 0) return false;
  part.iov_len = static_cast<std::size_t>(size);
  const bool sent = ::sendmsg(to, &message, MSG_NOSIGNAL) == size;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      ::close(fd);
    }
  }
  return sent;
}

int relay(const char* name) {
  const int test = connect_to(name);
  if (test < 0) return 1;
  for (;;) {
    pollfd entries[] = {{kSocket, POLLIN, 0}, {test, POLLIN, 0}};
    if (::poll(entries, 2, -1) < 0) return 1;
    if (entries[1].revents != 0 && !pass_on(test, kSocket)) return 0;
    if (entries[0].revents != 0 && !pass_on(kSocket, test)) return 0;
  }
}

}  // namespace

int main() {
  const char* socket = std::getenv("WIREUP_STUB_SOCKET");
  return socket == nullptr ? play() : relay(socket);
}
