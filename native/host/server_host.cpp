#include "host/server_host.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <string>

#include "host/addresses.h"
#include "host/name_client.h"
#include "host/patience.h"
#include "job/result_codes.h"
#include "os/error.h"
#include "os/limits.h"
#include "os/peer.h"
#include "os/socket_address.h"
#include "wire/printable.h"

namespace wireup::host {
namespace {

// Of replies to one connection: room for hundreds of requests without a read between, each answered with less
// than 2 KiB.
constexpr std::size_t kMostUnread = 1 << 20;

bool is_shared(const job::AuthPolicy& policy) {
  return std::ranges::any_of(policy.allowed_uids, [](const job::UidRange& range) {
    return range.first != geteuid() || range.last != geteuid();
  });
}

// Each rank has a file of its own. Of those that can be opened beside them strangers together hold half at
// most: the rest is for what the process does else.
job::JobOptions prepared(job::JobOptions options, bool listens, bool names_elsewhere) {
  options.names_elsewhere = names_elsewhere;
  if (!listens) return options;
  const std::size_t ranks = options.layout.size();
  const std::size_t limit = os::make_room_for_fds(ranks + 2 * options.auth.total_slots).soft;
  const std::size_t room = limit - std::min(limit, os::open_fds() + ranks);
  options.auth.total_slots = std::min(options.auth.total_slots, room / 2);
  options.auth.slots = std::min(options.auth.slots, options.auth.total_slots);
  return options;
}

}  // namespace

ServerHost::ServerHost(os::Reactor& reactor, job::JobOptions options, const ListenOptions& listen_options,
                       OnEvent on_event, OnQuestion on_question, NameClient* names)
    : reactor_(reactor),
      job_(prepared(std::move(options), listen_options.address || !listen_options.private_parents.empty(),
                    names != nullptr)),
      on_event_(std::move(on_event)),
      on_question_(std::move(on_question)),
      names_(names) {
  listen(listen_options);
}

ServerHost::~ServerHost() {
  if (door_timer_ != 0) reactor_.cancel(door_timer_);
  if (timer_ != 0) reactor_.cancel(timer_);
}

void ServerHost::listen(const ListenOptions& options) {
  if (!options.private_parents.empty()) {
    PrivateListener made =
        listen_privately(reactor_, options.private_parents, is_shared(job_.options().auth), on_accept());
    directory_ = std::move(made.directory);
    listener_ = std::move(made.listener);
    address_ = std::move(made.address);
    return;
  }
  std::optional<wire::Address> address = options.address;
  if (!address) return;
  if (std::holds_alternative<wire::TcpAddress>(*address)) tcp_peers_.emplace();
  auto* tcp = std::get_if<wire::TcpAddress>(&*address);
  if (tcp != nullptr && tcp->port == 0 && options.ports) {
    const auto [first, last] = *options.ports;
    tcp->port = first;
    while (tcp->port < last) {
      try {
        return listen_at(*address);
      } catch (const os::OsError& error) {
        if (error.code().value() != EADDRINUSE) throw;
        ++tcp->port;
      }
    }
  }
  listen_at(*address);
}

os::Listener::OnAccept ServerHost::on_accept() {
  return [this](os::UniqueFd socket) { accepted(std::move(socket)); };
}

void ServerHost::listen_at(const wire::Address& address) {
  listener_ =
      std::make_unique<os::Listener>(reactor_, to_socket_address(address), on_accept(),
                                     is_shared(job_.options().auth) ? kShared : os::Listener::kPrivate);
  // Only a TCP address can differ from what was asked for (port 0).
  address_ =
      std::holds_alternative<wire::TcpAddress>(address) ? to_wire_address(listener_->address()) : address;
}

job::Peer ServerHost::identify(int socket) {
  job::Peer peer;
  if (!tcp_peers_) {
    peer.transport = job::Transport::unix_socket;
    peer.address = wire::printable(os::SocketAddress::of_peer(socket).text());
    const auto credentials = os::unix_peer(socket);
    if (!credentials) return peer;
    peer.uid = credentials->uid;
    if (credentials->pid != 0) peer.pid = credentials->pid;
    if (job_.options().auth.descendants_only) peer.lineage = os::lineage_of_peer(socket);
    return peer;
  }
  peer.transport = job::Transport::tcp;
  os::TcpPeerFault fault = os::TcpPeerFault::none;
  const auto owner = tcp_peers_->peer(socket, fault);
  const os::SocketAddress address = os::SocketAddress::of_peer(socket);
  peer.address = address.text();
  if (owner) {
    peer.uid = owner->uid;
  } else if (fault == os::TcpPeerFault::other_machine) {
    peer.host = address.host();
  } else {
    peer.unknown = os::describe(fault);
  }
  return peer;
}

ServerHost::Connection& ServerHost::new_connection(os::UniqueFd socket) {
  if (free_.empty()) {
    free_.push_back(static_cast<job::ConnectionId>(connections_.size()));
    connections_.emplace_back();
  }
  const job::ConnectionId id = free_.back();
  auto connection = std::make_unique<Connection>(*this, id);
  connection->stream.emplace(reactor_, std::move(socket), *connection,
                             os::StreamLimits{.max_write_queue = kMostUnread});
  free_.pop_back();
  connections_[id] = std::move(connection);
  return *connections_[id];
}

os::UniqueFd ServerHost::open_channel(std::uint32_t rank) {
  os::FdPair pair = os::stream_pair();
  adopt_channel(rank, std::move(pair.first));
  os::set_nonblocking(pair.second.get(), false);
  return std::move(pair.second);
}

void ServerHost::adopt_channel(std::uint32_t rank, os::UniqueFd end) {
  const job::ConnectionId id = new_connection(std::move(end)).id;
  try {
    job_.open_channel(id, rank);
  } catch (...) {
    connections_[id].reset();
    free_.push_back(id);
    throw;
  }
}

void ServerHost::reject_channel(std::uint32_t rank, std::string reason) {
  job_.reject(job::Peer{}, std::move(reason), effects_, static_cast<std::int32_t>(rank));
  apply();
}

void ServerHost::depart(std::uint32_t rank) {
  job_.depart(rank, effects_);
  apply();
}

void ServerHost::answer_spawn(job::QuestionId id, const job::SpawnAnswer& answer) {
  job_.answer_spawn(id, answer, effects_);
  apply();
}

void ServerHost::accepted(os::UniqueFd socket) {
  job::Peer peer;
  try {
    peer = identify(socket.get());
  } catch (const os::OsError&) {
    return;  // it has ended already, and the kernel says no more whose it was
  }
  at_the_door_.emplace(Waiting{std::move(socket), std::move(peer)});
  open_door();
}

void ServerHost::open_door() {
  if (!at_the_door_) return;
  if (door_timer_ != 0) reactor_.cancel(door_timer_);
  door_timer_ = 0;
  const auto until = job_.busy_until(at_the_door_->peer, os::Reactor::Clock::now());
  listener_->hold(until.has_value());
  if (until) {
    door_timer_ = reactor_.at(*until, [this] {
      door_timer_ = 0;
      open_door();
    });
    return;
  }
  Waiting next = std::move(*std::exchange(at_the_door_, std::nullopt));
  admit(std::move(next.socket), std::move(next.peer));
}

void ServerHost::admit(os::UniqueFd socket, job::Peer peer) {
  Connection* connection = nullptr;
  try {
    connection = &new_connection(std::move(socket));
  } catch (const os::OsError& error) {
    job_.reject(peer, std::string("there is no room for it: ") + error.what(), effects_);
    return apply();
  }
  job_.accept(connection->id, std::move(peer), os::Reactor::Clock::now(), effects_);
  apply();
}

void ServerHost::Connection::on_bytes(os::Stream&, std::string_view bytes) {
  if (closing) return;
  host.job_.receive(id, bytes, host.effects_);
  host.apply();
}

void ServerHost::Connection::on_end(os::Stream&, int error) {
  // Any other error is how the peer has gone.
  host.ended(*this, error == ENOBUFS
                        ? "it left " + std::to_string(kMostUnread >> 20) + " MiB of replies unread"
                        : "");
}

void ServerHost::ended(Connection& connection, std::string cut_off) {
  const bool known = !connection.closing;
  const job::ConnectionId id = connection.id;
  connections_[id].reset();
  if (known) job_.eof(id, effects_, std::move(cut_off));
  free_.push_back(id);
  apply();
  open_door();
}

void ServerHost::apply() {
  // The events are moved out first because an owner may act on this host from within.
  std::vector<job::Event> events;
  std::vector<job::Question> questions;
  std::vector<job::NameQuestion> name_questions;
  for (const job::Effect& effect : effects_.list()) {
    if (const auto* send = job::as<job::Send>(effect)) {
      if (auto& connection = connections_[send->connection]) connection->stream->send(effects_.bytes(*send));
    } else if (const auto* close = job::as<job::Close>(effect)) {
      Connection& connection = *connections_[close->connection];
      connection.closing = true;
      connection.stream->close_after_flush(kFlushPatience);
    } else if (const auto* question = job::as<job::Question>(effect)) {
      questions.push_back(*question);
    } else if (const auto* question = job::as<job::NameQuestion>(effect)) {
      name_questions.push_back(*question);
    } else {
      events.push_back(*job::as<job::Event>(effect));
    }
  }
  effects_.clear();
  arm_timer();
  for (const job::Event& event : events) on_event_(event);
  for (job::NameQuestion& question : name_questions) ask(std::move(question));
  for (job::Question& question : questions) {
    if (on_question_) {
      on_question_(std::move(question));
    } else {
      answer_spawn(question.id, {.rc = job::kFail, .message = "not_supported"});
    }
  }
  // A connection whose rank is known has given its place up.
  const auto has_identified = [](const job::Event& event) { return event.type == job::EventType::connected; };
  if (at_the_door_ && std::ranges::any_of(events, has_identified)) open_door();
}

void ServerHost::ask(job::NameQuestion question) {
  names_->ask(std::move(question.request),
              [this, id = question.id, alive = std::weak_ptr(alive_)](const job::NameAnswer& answer) {
                if (alive.expired()) return;
                job_.answer_name(id, answer, effects_);
                apply();
              });
}

void ServerHost::arm_timer() {
  const auto due = job_.deadline();
  if (due == timer_due_) return;
  if (timer_ != 0) reactor_.cancel(timer_);
  timer_ = 0;
  timer_due_ = due;
  if (!due) return;
  timer_ = reactor_.at(*due, [this] {
    timer_ = 0;
    timer_due_.reset();
    job_.tick(os::Reactor::Clock::now(), effects_);
    apply();
  });
}

}  // namespace wireup::host
