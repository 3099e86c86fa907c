#include "runtime/name_server.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "os/error.h"
#include "os/limits.h"
#include "os/peer.h"
#include "runtime/addresses.h"
#include "runtime/timeouts.h"

namespace wireup::runtime {
namespace {

namespace names = wire::names;

std::size_t room_for_clients() {
  const std::size_t limit = os::make_room_for_fds(kMaxNameClients).soft;
  return std::min(kMaxNameClients, (limit - std::min(limit, os::open_fds())) / 2);
}

}  // namespace

NameServer::NameServer(os::Reactor& reactor, const ListenOptions& listen, OnRefusal on_refusal,
                       std::chrono::milliseconds timeout)
    : reactor_(reactor), on_refusal_(std::move(on_refusal)), timeout_(timeout), room_(room_for_clients()) {
  const auto on_accept = [this](os::UniqueFd socket) { accepted(std::move(socket)); };
  if (listen.address) {
    address_ = *listen.address;
    listener_ = std::make_unique<os::Listener>(reactor_, to_socket_address(address_), on_accept);
    return;
  }
  PrivateFolder::Socket made =
      folder_.listen(reactor_, listen.private_parents, os::kSocketName, false, on_accept);
  listener_ = std::move(made.listener);
  address_ = std::move(made.address);
}

NameServer::~NameServer() {
  for (const auto& [id, connection] : connections_) reactor_.cancel(connection->timer);
}

void NameServer::accepted(os::UniqueFd socket) {
  engine::Peer peer;
  peer.transport = engine::Transport::unix_socket;
  peer.address = "unix";
  if (const auto credentials = os::unix_peer(socket.get())) {
    peer.uid = credentials->uid;
    if (credentials->pid != 0) peer.pid = credentials->pid;
  }
  if (peer.uid != ::geteuid()) {
    const std::string user =
        peer.uid ? "uid " + std::to_string(*peer.uid) : "a user that the kernel does not report";
    return on_refusal_(std::move(peer), user + " is not allowed");
  }
  if (connections_.size() >= room_) return on_refusal_(std::move(peer), "there are too many connections");
  const ConnectionId id = names_.join();
  auto connection = std::make_unique<Connection>(*this, id, std::move(peer));
  try {
    connection->stream = std::make_unique<os::Stream>(reactor_, std::move(socket), *connection);
  } catch (const os::OsError& error) {
    return on_refusal_(std::move(connection->peer), std::string("there is no room for it: ") + error.what());
  }
  connection->timer = reactor_.after(timeout_, [this, id] {
    refuse(id, "it sent no request within " + std::to_string(timeout_.count()) + " ms");
  });
  connections_.emplace(id, std::move(connection));
}

void NameServer::Connection::on_bytes(os::Stream&, std::string_view bytes) {
  for (std::string_view frame;;) {
    const auto result = framer.next(bytes, frame);
    if (result == wire::FrameFramer::Result::more) return;
    if (result != wire::FrameFramer::Result::frame || !server.receive(*this, frame)) {
      return server.refuse(id, "it does not use the protocol of the name server");
    }
  }
}

bool NameServer::receive(Connection& connection, std::string_view frame) {
  const std::optional<names::Message> message = names::decode(frame);
  if (!message) return false;
  if (!connection.known) return greet(connection, *message);
  if (const auto* ask = std::get_if<names::Ask>(&*message)) {
    connection.stream->send(encode(names::Reply{names_.execute(connection.id, ask->request)}));
  } else if (const auto* list = std::get_if<names::List>(&*message)) {
    connection.stream->send(encode(page(list->after)));
  } else {
    return false;
  }
  return true;
}

bool NameServer::greet(Connection& connection, const names::Message& message) {
  const auto* hello = std::get_if<names::Hello>(&message);
  if (hello == nullptr) return false;
  connection.stream->send(encode(names::Welcome{}));
  // A client of another version learns the reason from the version in Welcome.
  if (hello->version != names::kProtocolVersion) {
    connection.stream->close_after_flush(kFlushTimeout);
    return true;
  }
  connection.known = true;
  connection.kvsname = hello->kvsname;
  reactor_.cancel(std::exchange(connection.timer, 0));
  return true;
}

names::Page NameServer::page(const std::string& after) const {
  names::Page page;
  const engine::Names::Entries& entries = names_.entries();
  for (auto entry = entries.upper_bound(after); entry != entries.end(); ++entry) {
    if (page.rows.size() == names::kPageRows) {
      page.last = false;
      break;
    }
    const Connection& publisher = *connections_.at(entry->second.owner);
    page.rows.push_back(
        {entry->first, entry->second.port, publisher.kvsname, publisher.peer.pid.value_or(0)});
  }
  return page;
}

void NameServer::refuse(ConnectionId id, std::string reason) {
  engine::Peer peer = connections_.at(id)->peer;
  forget(id);
  on_refusal_(std::move(peer), std::move(reason));
}

void NameServer::forget(ConnectionId id) {
  const auto entry = connections_.find(id);
  reactor_.cancel(entry->second->timer);
  names_.leave(id);
  connections_.erase(entry);
}

}  // namespace wireup::runtime
