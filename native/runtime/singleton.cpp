#include "runtime/singleton.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <string_view>

#include "os/error.h"
#include "os/socket_address.h"
#include "runtime/server_identity.h"
#include "wire/codec.h"
#include "wire/limits.h"

namespace wireup::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using wire::AttributeId;

// The program waits for us in a blocking read; it is on this machine and has nothing else to do.
constexpr std::chrono::seconds kTimeout{10};

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno != EINTR) throw os::OsError::last("write", "the singleton");
    if (size > 0) text.remove_prefix(static_cast<std::size_t>(size));
  }
}

// Byte by byte: what comes behind the line is the server's to read.
std::string read_line(int fd, Clock::time_point deadline) {
  std::string line;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, POLLIN, 0};
    if (left <= 0 || ::poll(&entry, 1, static_cast<int>(left)) == 0)
      throw os::OsError(ETIMEDOUT, "read", "the singleton");
    char byte = 0;
    const ssize_t size = ::read(fd, &byte, 1);
    if (size < 0 && errno != EINTR) throw os::OsError::last("read", "the singleton");
    if (size == 0) throw os::OsError(ECONNRESET, "read", "the singleton");
    if (size < 0) continue;
    if (byte == '\n') return line;
    line += byte;
    if (line.size() > wire::kMaxLine) throw os::OsError(EPROTO, "read", "the singleton");
  }
}

}  // namespace

os::UniqueFd join_singleton(std::uint16_t port, const std::string& kvsname) {
  const auto deadline = Clock::now() + kTimeout;
  const auto address = os::SocketAddress::numeric("127.0.0.1", port);
  os::UniqueFd socket =
      os::connect_blocking(*address, static_cast<int>(std::chrono::milliseconds(kTimeout).count()));
  if (const std::string fault = why_not_trusted(socket.get()); !fault.empty()) {
    throw os::OsError(EPERM, "connect", address->text() + " (" + fault + ")");
  }
  write_all(socket.get(), "cmd=singinit authtype=none\n");
  const std::string line = read_line(socket.get(), deadline);
  const wire::Parsed said = wire::parse_v1(line, wire::Direction::to_server);
  if (said.status != wire::ParseStatus::ok || said.spec->id != wire::MessageId::singinit ||
      said.integer(AttributeId::pmi_version) != 1) {
    throw os::OsError(EPROTO, "read", "the singleton");
  }
  std::string answer;
  wire::MessageWriter(answer, wire::MessageId::singinit_info)
      .add(AttributeId::rc, 0)
      .add(AttributeId::versionok, "yes")
      .add(AttributeId::stdio, "no")
      .add(AttributeId::kvsname, kvsname)
      .end();
  write_all(socket.get(), answer);
  return socket;
}

}  // namespace wireup::runtime
