#include "runtime/server_driver.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/result_codes.h"
#include "os/error.h"
#include "os/limits.h"
#include "os/socket_address.h"
#include "runtime/addresses.h"
#include "runtime/timeouts.h"

namespace wireup::runtime {
namespace {

// Bytes of replies that wait for one peer. A reply is shorter than 2 KiB, so a client may send hundreds of
// requests before it reads.
constexpr std::size_t kMostUnread = 1 << 20;

bool is_shared(const engine::AuthPolicy& policy) {
  return std::ranges::any_of(policy.allowed_uids, [](const engine::UidRange& range) {
    return range.first != geteuid() || range.last != geteuid();
  });
}

// Each rank that is here needs an open file. Unidentified connections may use at most half of the others that
// can be opened; the rest is for the other work of the process.
engine::ProcessGroupOptions prepared(engine::ProcessGroupOptions options, bool listens,
                                     const ServerCallbacks& callbacks) {
  const auto elsewhere = static_cast<std::size_t>(std::ranges::count(options.elsewhere, true));
  if (elsewhere > 0 && (!callbacks.on_fence || !callbacks.on_barrier_query))
    throw std::invalid_argument("elsewhere: nothing answers the queries about barriers");
  options.names_elsewhere = callbacks.on_name_query != nullptr;
  if (!listens) return options;
  const std::size_t ranks = options.layout.size() - elsewhere;
  const std::size_t limit = os::make_room_for_fds(ranks + 2 * options.auth.total_slots).soft;
  const std::size_t room = limit - std::min(limit, os::open_fds() + ranks);
  options.auth.total_slots = std::min(options.auth.total_slots, room / 2);
  options.auth.slots = std::min(options.auth.slots, options.auth.total_slots);
  return options;
}

}  // namespace

ServerDriver::ServerDriver(os::Reactor& reactor, engine::ProcessGroupOptions options,
                           const ListenOptions& listen_options, ServerCallbacks callbacks,
                           const Traced& traced)
    : reactor_(reactor),
      group_(prepared(std::move(options), listen_options.address || !listen_options.private_parents.empty(),
                      callbacks)),
      trace_(traced.trace ? std::make_unique<GroupTrace>(traced.trace, traced.number, group_) : nullptr),
      callbacks_(std::move(callbacks)) {
  listen(listen_options);
}

ServerDriver::~ServerDriver() {
  if (door_timer_ != 0) reactor_.cancel(door_timer_);
  if (timer_ != 0) reactor_.cancel(timer_);
}

void ServerDriver::listen(const ListenOptions& options) {
  if (!options.private_parents.empty()) {
    folder_ = options.folder ? options.folder : std::make_shared<PrivateFolder>();
    PrivateFolder::Socket made = folder_->listen(reactor_, options.private_parents, options.socket_name,
                                                 is_shared(group_.options().auth), on_accept());
    listener_ = std::move(made.listener);
    address_ = std::move(made.address);
    identify_ = descriptor_of(*address_).identifier(group_.options().auth.descendants_only);
    return;
  }
  std::optional<wire::Address> address = options.address;
  if (!address) return;
  identify_ = descriptor_of(*address).identifier(group_.options().auth.descendants_only);
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

os::Listener::OnAccept ServerDriver::on_accept() {
  return [this](os::UniqueFd socket) { accepted(std::move(socket)); };
}

void ServerDriver::listen_at(const wire::Address& address) {
  listener_ =
      std::make_unique<os::Listener>(reactor_, to_socket_address(address), on_accept(),
                                     is_shared(group_.options().auth) ? kShared : os::Listener::kPrivate);
  address_ = descriptor_of(address).listens_at(address, listener_->address());
}

ServerDriver::Connection& ServerDriver::new_connection(os::UniqueFd socket) {
  if (free_.empty()) {
    connections_.emplace_back();
    // So that a connection that ends needs no memory.
    free_.reserve(connections_.capacity());
    free_.push_back(static_cast<engine::ConnectionId>(connections_.size() - 1));
  }
  const engine::ConnectionId id = free_.back();
  auto connection = std::make_unique<Connection>(*this, id);
  connection->stream.emplace(reactor_, std::move(socket), *connection,
                             os::StreamLimits{.max_write_queue = kMostUnread});
  connection->special = trace_ != nullptr;
  free_.pop_back();
  connections_[id] = std::move(connection);
  return *connections_[id];
}

os::UniqueFd ServerDriver::open_channel(std::uint32_t rank) {
  os::FdPair pair = os::stream_pair();
  adopt_channel(rank, std::move(pair.first));
  return std::move(pair.second);
}

void ServerDriver::adopt_channel(std::uint32_t rank, os::UniqueFd end) {
  const engine::ConnectionId id = new_connection(std::move(end)).id;
  try {
    group_.open_channel(id, rank);
  } catch (...) {
    connections_[id].reset();
    free_.push_back(id);
    throw;
  }
  if (trace_) trace_->opened(id, rank);
}

void ServerDriver::reject_channel(std::uint32_t rank, std::string reason) {
  group_.reject(engine::Peer{}, engine::Refusal::connected, std::move(reason), effects_,
                static_cast<std::int32_t>(rank));
  apply();
}

void ServerDriver::depart(std::uint32_t rank) {
  group_.depart(rank, effects_);
  apply();
}

void ServerDriver::answer_spawn(engine::QueryId id, const engine::SpawnAnswer& answer) {
  group_.answer_spawn(id, answer, effects_);
  apply();
}

void ServerDriver::answer_name(engine::QueryId id, const engine::NameAnswer& answer) {
  group_.answer_name(id, answer, effects_);
  apply();
}

void ServerDriver::answer_barrier(engine::QueryId id, bool complete, std::uint32_t gone) {
  group_.answer_barrier(id, complete, gone, effects_);
  apply();
}

std::string ServerDriver::finish_fence(std::uint64_t number, std::string keys) {
  std::string error = group_.finish_fence(number, std::move(keys), effects_);
  apply();
  return error;
}

void ServerDriver::accepted(os::UniqueFd socket) {
  engine::Peer peer;
  try {
    peer = identify_(socket.get());
  } catch (const os::OsError&) {
    return;  // it has ended, and the kernel no longer knows whose it was
  }
  at_the_door_.emplace(Waiting{std::move(socket), std::move(peer)});
  open_door();
}

void ServerDriver::open_door() {
  if (!at_the_door_) return;
  if (door_timer_ != 0) reactor_.cancel(door_timer_);
  door_timer_ = 0;
  const auto until = group_.busy_until(at_the_door_->peer, os::Reactor::Clock::now());
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

void ServerDriver::admit(os::UniqueFd socket, engine::Peer peer) {
  Connection* connection = nullptr;
  try {
    connection = &new_connection(std::move(socket));
  } catch (const os::OsError& error) {
    group_.reject(peer, engine::Refusal::system, std::string("there is no room for it: ") + error.what(),
                  effects_);
    return apply();
  }
  if (trace_) trace_->opened(connection->id, std::nullopt);
  group_.accept(connection->id, std::move(peer), os::Reactor::Clock::now(), effects_);
  apply();
  arm_timer();
}

void ServerDriver::Connection::on_bytes(os::Stream&, std::string_view bytes) {
  if (special) return driver.receive_special(*this, bytes);
  driver.group_.receive(id, bytes, driver.effects_);
  driver.apply();
}

void ServerDriver::receive_special(Connection& connection, std::string_view bytes) {
  if (!trace_) return;  // it is closing
  const std::uint64_t time = trace_->now();
  if (!connection.closing) group_.receive(connection.id, bytes, effects_);
  trace_->received(connection.id, bytes, time, effects_);
  apply();
}

void ServerDriver::finish_trace() {
  if (trace_) trace_->finish();
}

void ServerDriver::Connection::on_end(os::Stream&, int error) {
  // With any other error it is the peer that has ended the connection.
  driver.ended(*this, error == ENOBUFS
                          ? "it left " + std::to_string(kMostUnread >> 20) + " MiB of replies unread"
                          : "");
}

void ServerDriver::ended(Connection& connection, std::string cut_off) {
  const bool known = !connection.closing;
  const engine::ConnectionId id = connection.id;
  connections_[id].reset();
  if (trace_) trace_->ended(id);
  if (known) group_.eof(id, effects_, std::move(cut_off));
  free_.push_back(id);
  apply();
  open_door();
}

void ServerDriver::apply() {
  // A callback may call this driver, which fills effects_ again.
  std::vector<engine::Effect> reports;
  bool identified = false;
  if (trace_) trace_->apply(effects_);
  for (engine::Effect& effect : effects_.list()) {
    if (const auto* send = engine::as<engine::Send>(effect)) {
      group_.counters().sent += send->size;
      if (auto& connection = connections_[send->connection]) connection->stream->send(effects_.bytes(*send));
    } else if (const auto* close = engine::as<engine::Close>(effect)) {
      Connection& connection = *connections_[close->connection];
      connection.closing = true;
      connection.special = true;
      connection.stream->close_after_flush(kFlushTimeout);
    } else {
      if (const auto* event = engine::as<engine::Event>(effect)) {
        identified = identified || event->type == engine::EventType::connected;
        if (event->type == engine::EventType::barrier) time_barrier();
      }
      reports.push_back(std::move(effect));
    }
  }
  effects_.clear();
  if (group_.barrier().under_way() != barrier_since_.has_value()) begin_barrier();
  // A deadline begins in accept() only. Most requests come when there is none.
  if (timer_due_) arm_timer();
  for (engine::Effect& effect : reports) report(effect);
  // A connection that has identified itself no longer takes a place.
  if (identified) open_door();
}

void ServerDriver::report(engine::Effect& effect) {
  if (const auto* event = engine::as<engine::Event>(effect)) {
    callbacks_.on_event(*event);
  } else if (auto* fence = engine::as<engine::FenceQuery>(effect)) {
    callbacks_.on_fence(std::move(*fence));
  } else if (auto* barrier = engine::as<engine::BarrierQuery>(effect)) {
    callbacks_.on_barrier_query(std::move(*barrier));
  } else if (auto* name = engine::as<engine::NameQuery>(effect)) {
    callbacks_.on_name_query(std::move(*name));
  } else if (auto* spawn = engine::as<engine::SpawnQuery>(effect)) {
    if (callbacks_.on_spawn_query) return callbacks_.on_spawn_query(std::move(*spawn));
    answer_spawn(spawn->id, {.rc = engine::kFail, .message = "not_supported"});
  }
}

// A rank has entered a barrier in which no rank was, or the last rank inside has left it.
// Inline, it would cost each request some instructions.
[[gnu::noinline]] void ServerDriver::begin_barrier() {
  barrier_since_.reset();
  if (group_.barrier().under_way()) barrier_since_ = os::Reactor::Clock::now();
}

[[gnu::noinline]] void ServerDriver::time_barrier() {
  using std::chrono::microseconds;
  const auto begin = std::exchange(barrier_since_, std::nullopt);
  // Without a begin, the first rank of the barrier was its last one too.
  const auto time = begin ? os::Reactor::Clock::now() - *begin : os::Reactor::Clock::duration::zero();
  group_.counters().add_barrier(
      static_cast<std::uint64_t>(std::chrono::duration_cast<microseconds>(time).count()));
}

void ServerDriver::arm_timer() {
  const auto due = group_.deadline();
  if (due == timer_due_) return;
  if (timer_ != 0) reactor_.cancel(timer_);
  timer_ = 0;
  timer_due_ = due;
  if (!due) return;
  timer_ = reactor_.at(*due, [this] {
    timer_ = 0;
    timer_due_.reset();
    group_.tick(os::Reactor::Clock::now(), effects_);
    apply();
    arm_timer();
  });
}

}  // namespace wireup::runtime
