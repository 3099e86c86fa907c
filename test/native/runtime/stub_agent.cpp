// A stand-in for wireup-agent that starts no process, so that a test can run hundreds of launches a second.
// It reports every rank as started. A rank of a spawned group exits with 0 at once; a rank of group 0 runs
// until the launcher ends the job, or exits with 7 when it is sent a signal.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <set>
#include <string>

#include "wire/agent_messages.h"

namespace {

using namespace wireup::wire::agent;

constexpr int kSocket = 3;
constexpr std::int32_t kFirstPid = 1 << 30;  // above every process id of Linux
constexpr std::int32_t kExitCode = 7;

void send(const Message& message) {
  const std::string packet = encode(message);
  (void)::send(kSocket, packet.data(), packet.size(), MSG_NOSIGNAL);
}

}  // namespace

int main() {
  std::string packet(1 << 18, '\0');
  std::set<std::uint32_t> running;
  for (;;) {
    const ssize_t size = ::recv(kSocket, packet.data(), packet.size(), 0);
    if (size <= 0) return 0;
    const auto message = decode(std::string_view(packet).substr(0, static_cast<std::size_t>(size)));
    if (!message) return 1;
    if (std::holds_alternative<Hello>(*message)) {
      send(Ready{.pid = ::getpid(), .host = "host"});
    } else if (const auto* start = std::get_if<Start>(&*message)) {
      for (const StartRank& rank : start->ranks) {
        send(Started{rank.task, kFirstPid + static_cast<std::int32_t>(rank.task), {}});
        if (rank.group == 0) {
          running.insert(rank.task);
        } else {
          send(Exited{.task = rank.task});
        }
      }
    } else if (std::holds_alternative<Signal>(*message)) {
      for (const std::uint32_t task : running) send(Exited{.task = task, .value = kExitCode});
      running.clear();
    } else if (std::holds_alternative<End>(*message)) {
      for (const std::uint32_t task : running)
        send(Exited{.task = task, .signaled = true, .value = 9, .ended = true});
      running.clear();
      send(Done{});
      return 0;
    }
  }
}
