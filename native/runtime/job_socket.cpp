#include "runtime/job_socket.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "os/error.h"
#include "os/peer.h"
#include "os/socket_address.h"
#include "runtime/timeouts.h"

namespace wireup::runtime {
namespace {

// The time from accept to the end of the question. It is enough for a busy machine.
constexpr std::chrono::seconds kQuestionTimeout{10};

// Bytes that wait for a reader: the stacks of a large job.
constexpr std::size_t kMaxReplies = 64 << 20;

}  // namespace

JobSocket::JobSocket(os::Reactor& reactor, const std::vector<PrivateParent>& parents, OnQuestion on_question,
                     OnGone on_gone)
    : reactor_(reactor), on_question_(std::move(on_question)), on_gone_(std::move(on_gone)) {
  listen(parents);
}

JobSocket::~JobSocket() {
  for (const auto& [id, connection] : connections_) reactor_.cancel(connection->timer);
}

void JobSocket::listen(const std::vector<PrivateParent>& parents) {
  const std::string name = std::string(kJobSocketName) + std::to_string(::getpid());
  std::string faults;
  for (const PrivateParent& parent : parents) {
    std::string fault;
    auto made = os::PrivateDirectory::make(parent.path, false, fault);
    if (made) {
      try {
        listener_ =
            std::make_unique<os::Listener>(reactor_, os::SocketAddress::unix_path(made->socket_by_fd(name)),
                                           [this](os::UniqueFd socket) { accepted(std::move(socket)); });
        path_ = made->socket(name);
        directory_ = std::move(made);
        return;
      } catch (const os::OsError& error) {
        fault = error.code().message();
      }
    }
    faults += (faults.empty() ? "" : "; ") + parent.path + ": " + fault;
  }
  throw os::OsError(EACCES, "bind", faults);
}

void JobSocket::accepted(os::UniqueFd socket) {
  const auto peer = os::unix_peer(socket.get());
  if (!peer || peer->uid != ::geteuid() || connections_.size() >= kMaxJobClients) return;
  const ConnectionId id = ++last_;
  auto connection = std::make_unique<Connection>(*this, id);
  try {
    connection->stream = std::make_unique<os::Stream>(reactor_, std::move(socket), *connection,
                                                      os::StreamLimits{.max_write_queue = kMaxReplies});
  } catch (const os::OsError&) {
    return;
  }
  connection->timer = reactor_.after(kQuestionTimeout, [this, id] { forget(id); });
  connections_.emplace(id, std::move(connection));
}

void JobSocket::Connection::on_bytes(os::Stream&, std::string_view bytes) {
  if (asked) return;
  const std::size_t end = bytes.find('\n');
  question += bytes.substr(0, end);
  if (question.size() > kMaxQuestion) return socket.forget(id);
  if (end == std::string_view::npos) return;
  asked = true;
  socket.reactor_.cancel(std::exchange(timer, 0));
  socket.on_question_(id, std::move(question));
}

void JobSocket::reply(ConnectionId connection, std::string_view text, bool last) {
  const auto entry = connections_.find(connection);
  if (entry == connections_.end()) return;
  Connection& asked = *entry->second;
  asked.stream->send(text);
  if (!last) return;
  asked.answered = true;
  asked.stream->close_after_flush(kFlushTimeout);
}

void JobSocket::forget(ConnectionId id) {
  const auto entry = connections_.find(id);
  reactor_.cancel(entry->second->timer);
  const bool gone = entry->second->asked && !entry->second->answered;
  connections_.erase(entry);
  if (gone) on_gone_(id);
}

}  // namespace wireup::runtime
