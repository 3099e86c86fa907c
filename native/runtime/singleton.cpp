#include "runtime/singleton.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string_view>
#include <utility>

#include "os/error.h"
#include "os/socket_address.h"
#include "runtime/server_identity.h"
#include "wire/codec.h"
#include "wire/limits.h"

namespace wireup::runtime {
namespace {

using wire::AttributeId;

constexpr const char* kSubject = "the singleton";

// The lines are shorter than any send buffer, so a connected socket takes each of them at once.
void send_line(int socket, std::string_view line) {
  const ssize_t size = ::send(socket, line.data(), line.size(), MSG_NOSIGNAL);
  if (size < 0) throw os::OsError::last("send", kSubject);
  if (static_cast<std::size_t>(size) != line.size()) throw os::OsError(EPROTO, "send", kSubject);
}

}  // namespace

SingletonJoin::SingletonJoin(os::Reactor& reactor, std::uint16_t port, std::string kvsname,
                             OnJoined on_joined, std::chrono::milliseconds timeout)
    : reactor_(reactor), kvsname_(std::move(kvsname)), on_joined_(std::move(on_joined)) {
  const auto address = os::SocketAddress::numeric("127.0.0.1", port);
  address_ = address->text();
  socket_ = os::connect_start(*address);
  reactor_.add(socket_.get(), EPOLLOUT, *this);
  try {
    timer_ = reactor_.after(timeout, [this] {
      timer_ = 0;
      finish({.failure = std::make_exception_ptr(os::OsError(ETIMEDOUT, "read", kSubject))});
    });
  } catch (...) {
    stop();
    throw;
  }
}

SingletonJoin::~SingletonJoin() { stop(); }

void SingletonJoin::stop() {
  reactor_.cancel(std::exchange(timer_, 0));
  if (socket_) reactor_.remove(socket_.get(), *this);
}

void SingletonJoin::on_ready(std::uint32_t) {
  try {
    if (!greeted_) return greet();
    if (!read_line()) return;
    answer();
  } catch (const os::OsError&) {
    return finish({.failure = std::current_exception()});
  }
  stop();
  finish({.connection = std::move(socket_)});
}

void SingletonJoin::greet() {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size) < 0)
    throw os::OsError::last("getsockopt", address_);
  if (error != 0) throw os::OsError(error, "connect", address_);
  if (const std::string reason = why_not_trusted(socket_.get()); !reason.empty())
    throw os::OsError(EPERM, "connect", address_ + " (" + reason + ")");
  send_line(socket_.get(), "cmd=singinit authtype=none\n");
  greeted_ = true;
  reactor_.modify(socket_.get(), EPOLLIN, *this);
}

// Reads byte by byte: what follows the line is for the PMI server. Returns true at the end of the line.
bool SingletonJoin::read_line() {
  for (;;) {
    char byte = 0;
    const ssize_t size = ::recv(socket_.get(), &byte, 1, 0);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) throw os::OsError::last("recv", kSubject);
    if (size == 0) throw os::OsError(ECONNRESET, "recv", kSubject);
    if (byte == '\n') return true;
    line_ += byte;
    if (line_.size() > wire::kMaxLine) throw os::OsError(EPROTO, "recv", kSubject);
  }
}

void SingletonJoin::answer() {
  const wire::Parsed parsed = wire::parse_v1(line_, wire::Direction::to_server);
  if (parsed.status != wire::ParseStatus::ok || parsed.spec->id != wire::MessageId::singinit ||
      parsed.integer(AttributeId::pmi_version) != 1) {
    throw os::OsError(EPROTO, "recv", kSubject);
  }
  std::string answer;
  wire::MessageWriter(answer, wire::MessageId::singinit_info)
      .add(AttributeId::rc, 0)
      .add(AttributeId::versionok, "yes")
      .add(AttributeId::stdio, "no")
      .add(AttributeId::kvsname, kvsname_)
      .end();
  send_line(socket_.get(), answer);
}

void SingletonJoin::finish(Result result) {
  stop();
  OnJoined on_joined = std::move(on_joined_);
  on_joined(std::move(result));
}

}  // namespace wireup::runtime
