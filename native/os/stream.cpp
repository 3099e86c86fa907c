#include "os/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "os/error.h"

namespace wireup::os {

namespace {

// PMI is small requests and replies: what Nagle's algorithm holds back is what the other side waits for.
void set_nodelay(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0) throw OsError::last("getsockopt");
  const int on = 1;
  if (domain != AF_INET && domain != AF_INET6) return;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) throw OsError::last("setsockopt");
}

}  // namespace

Stream::Stream(Reactor& reactor, UniqueFd socket, StreamObserver& observer, StreamLimits limits)
    : reactor_(reactor),
      owner_(reactor.owner()),
      socket_(std::move(socket)),
      observer_(observer),
      limits_(limits) {
  set_nonblocking(socket_.get(), true);
  set_nodelay(socket_.get());
  watched_ = EPOLLIN;
  reactor_.add(socket_.get(), watched_, *this, Reactor::Kind::stream_socket);
}

Stream::~Stream() { detach(); }

void Stream::detach() {
  if (detached_) return;
  settle();
  detached_ = true;
  reactor_.remove(socket_.get(), *this);
  reactor_.cancel(std::exchange(turn_, 0));
}

void Stream::send(std::string_view bytes) {
  if (detached_ || closing_ || failed_ != 0) return;
  if (queued() == 0) {
    if (send_with_others(bytes)) return;
    if (ticket_ == 0 && failed_ == 0 && queued() == 0) bytes.remove_prefix(write(bytes));
  }
  if (bytes.empty() || failed_ != 0) return;
  queue(bytes);
  watch();
}

bool Stream::send_with_others(std::string_view bytes) {
  SocketBatch& sends = reactor_.sends();
  sends.make_room(bytes.size());  // what waited may be ours
  if (failed_ != 0 || queued() > 0) return false;
  if (ticket_ != 0) return sends.extend(ticket_, bytes);
  ticket_ = sends.add(*this, socket_.get(), bytes);
  return ticket_ != 0;
}

void Stream::on_sent(std::string_view left, int error) {
  reactor_.run_as(owner_, [&] { take_back(left, error); });
}

void Stream::take_back(std::string_view left, int error) {
  ticket_ = 0;
  if (error != 0) return fail(error);
  if (left.empty() && queued() > 0) return write_queued();
  if (left.empty()) return;
  // It goes before what came later, none of which has been written.
  const std::string later = std::exchange(queue_, {});
  queue(left);
  if (failed_ == 0 && !later.empty()) queue(later);
  if (failed_ == 0) watch();
}

void Stream::settle() {
  if (ticket_ != 0) reactor_.sends().settle(ticket_);
}

void Stream::queue(std::string_view bytes) {
  if (bytes.size() > limits_.max_write_queue - queued()) {
    fail(ENOBUFS);
    return;
  }
  // Moving what is left costs no more than what was written since the last move.
  if (written_ > queue_.size() / 2) {
    queue_.erase(0, written_);
    written_ = 0;
  }
  queue_.append(bytes);
}

void Stream::close_after_flush(Reactor::Clock::duration timeout) {
  if (detached_ || closing_) return;
  settle();
  closing_ = true;
  if (failed_ != 0) return;
  schedule(queued() == 0 ? Reactor::Clock::now() : Reactor::Clock::now() + timeout);
  watch();
}

void Stream::on_ready(std::uint32_t events) {
  // What the reactor has received for us is read now or never.
  if (failed_ != 0) return on_turn();
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) write_queued();
  if (closing_) {
    if (failed_ == 0 && queued() == 0) end(0);
    return;
  }
  if (events & ~static_cast<std::uint32_t>(EPOLLOUT)) read(false);
}

// `to_the_end` reads up to EAGAIN, also when writing has failed.
Stream::Stop Stream::read(bool to_the_end) {
  const Lifetime::Watch watch(lifetime_);
  std::size_t left = limits_.read_budget;
  while (left > 0) {
    const auto [bytes, error, full] = reactor_.receive(socket_.get(), left);
    if (error == EAGAIN || error == EWOULDBLOCK) return Stop::drained;
    if (bytes.empty()) {
      end(error);
      return Stop::gone;
    }
    left -= std::min(left, bytes.size());
    observer_.on_bytes(*this, bytes);
    if (watch.gone()) return Stop::gone;
    if (closing_ || (failed_ != 0 && !to_the_end)) return Stop::drained;
    // The socket is level-triggered: what came meanwhile, EOF too, is told on the next turn.
    if (!full && !to_the_end) return Stop::drained;
  }
  return Stop::budget;
}

std::size_t Stream::write(std::string_view bytes) {
  const Sent sent = send_now(socket_.get(), bytes);
  if (sent.error != 0) fail(sent.error);
  return sent.size;
}

void Stream::write_queued() {
  settle();
  written_ += write(std::string_view(queue_).substr(written_));
  if (queued() == 0) {
    // Few peers are ever behind; those that were give the memory back.
    queue_ = {};
    written_ = 0;
  }
  if (failed_ == 0) watch();
}

void Stream::watch() {
  const bool waits = queued() > 0 && ticket_ == 0;
  const std::uint32_t wanted =
      (closing_ ? 0U : std::uint32_t{EPOLLIN}) | (waits ? std::uint32_t{EPOLLOUT} : 0U);
  if (wanted == watched_) return;
  watched_ = wanted;
  reactor_.modify(socket_.get(), watched_, *this);
}

void Stream::schedule(Reactor::Clock::time_point when) {
  reactor_.cancel(turn_);
  turn_ = reactor_.at(when, [this] {
    turn_ = 0;
    on_turn();
  });
}

void Stream::on_turn() {
  if (failed_ == 0) {
    end(queued() == 0 ? 0 : ETIMEDOUT);
    return;
  }
  // A peer that says its last word and hangs up makes our write fail before that word is read. But one that
  // has let its replies pile up is not listened to any longer.
  if (!closing_ && failed_ != ENOBUFS) {
    switch (read(true)) {
      case Stop::gone:
        return;
      case Stop::budget:
        schedule(Reactor::Clock::now());
        return;
      case Stop::drained:
        break;
    }
  }
  end(failed_ == EPIPE ? 0 : failed_);
}

void Stream::fail(int error) {
  failed_ = error;
  if (ticket_ != 0) reactor_.sends().drop(std::exchange(ticket_, 0));
  queue_ = {};
  written_ = 0;
  schedule(Reactor::Clock::now());
}

// Unread input at close() makes the kernel reset the connection, and the reset can overtake what was written.
void Stream::drop_input() {
  for (std::size_t left = limits_.read_budget; left > 0;) {
    const auto received = reactor_.receive(socket_.get(), left);
    if (received.bytes.empty()) return;
    left -= std::min(left, received.bytes.size());
  }
}

void Stream::end(int error) {
  detach();
  if (closing_) drop_input();
  observer_.on_end(*this, error);
}

}  // namespace wireup::os
