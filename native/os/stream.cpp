#include "os/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "os/error.h"

namespace wireup::os {

namespace {

// PMI's requests and replies are small, and the peer waits for the bytes that Nagle's algorithm holds back.
void set_nodelay(int fd) {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0) throw OsError::last("getsockopt");
  const int on = 1;
  if (domain != AF_INET && domain != AF_INET6) return;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) throw OsError::last("setsockopt");
}

// A queue with this much memory or less keeps it for the next reply. Most replies to a get fit.
constexpr std::size_t kMostKeptCapacity = 512;

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
  if (waits_) {
    reactor_.sockets().withdraw(*this);
    // There is no later turn to send the rest in, or to report an error in.
    send_now(socket_.get(), unsent());
  }
  detached_ = true;
  reactor_.remove(socket_.get(), *this);
  reactor_.cancel(std::exchange(turn_, 0));
}

void Stream::send(std::string_view bytes) {
  if (detached_ || closing_ || failed_ != 0) return;
  if (waits_ && queued() + bytes.size() > SocketBackend::kMostWaitingBytes) send_queued();
  if (queued() == 0 && failed_ == 0) {
    const std::optional<Sent> sent = reactor_.sockets().send(*this, bytes);
    waits_ = !sent;
    if (sent) {
      if (sent->error != 0) fail(sent->error);
      bytes.remove_prefix(sent->size);
    }
  }
  if (bytes.empty() || failed_ != 0) return;
  queue(bytes);
  if (failed_ == 0) watch();
}

void Stream::on_sent(Sent sent) {
  waits_ = false;
  sent_ += sent.size;
  reactor_.run_as(owner_, [&] { after_send(sent.error); });
}

void Stream::send_queued() {
  if (std::exchange(waits_, false)) reactor_.sockets().withdraw(*this);
  const Sent sent = send_now(socket_.get(), unsent());
  sent_ += sent.size;
  after_send(sent.error);
}

void Stream::after_send(int error) {
  if (error != 0) return fail(error);
  if (queued() > limits_.max_write_queue) return fail(ENOBUFS);
  if (queued() == 0) {
    // Few peers read too slowly. The memory of their long queues is freed.
    if (queue_.capacity() > kMostKeptCapacity) {
      queue_ = {};
    } else {
      queue_.clear();
    }
    sent_ = 0;
  }
  watch();
}

void Stream::queue(std::string_view bytes) {
  // What waits counts only after the socket has not taken it.
  if (!waits_ && queued() + bytes.size() > limits_.max_write_queue) {
    fail(ENOBUFS);
    return;
  }
  // Moving the rest costs no more than sending the bytes since the last move.
  if (sent_ > queue_.size() / 2) {
    queue_.erase(0, sent_);
    sent_ = 0;
  }
  queue_.append(bytes);
}

void Stream::close_after_flush(Reactor::Clock::duration timeout) {
  if (detached_ || closing_) return;
  if (waits_) send_queued();
  closing_ = true;
  if (failed_ != 0) return;
  schedule(queued() == 0 ? Reactor::Clock::now() : Reactor::Clock::now() + timeout);
  watch();
}

void Stream::on_ready(std::uint32_t events) {
  // The backend keeps what it has received ahead for this turn only, so it must be read now.
  if (failed_ != 0) return on_turn();
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) send_queued();
  if (closing_) {
    if (failed_ == 0 && queued() == 0) end(0);
    return;
  }
  if (events & ~static_cast<std::uint32_t>(EPOLLOUT)) read(false);
}

// With `to_the_end` it reads up to EAGAIN, even if sending has failed.
Stream::Stop Stream::read(bool to_the_end) {
  const Lifetime::Watch watch(lifetime_);
  std::size_t left = limits_.read_budget;
  while (left > 0) {
    const auto [bytes, error, full] = reactor_.sockets().receive(socket_.get(), left);
    if (error == EAGAIN || error == EWOULDBLOCK) return Stop::drained;
    if (bytes.empty()) {
      end(error);
      return Stop::gone;
    }
    left -= std::min(left, bytes.size());
    observer_.on_bytes(*this, bytes);
    if (watch.gone()) return Stop::gone;
    if (closing_ || (failed_ != 0 && !to_the_end)) return Stop::drained;
    // epoll is level-triggered: it reports later input, and EOF, on the next turn.
    if (!full && !to_the_end) return Stop::drained;
  }
  return Stop::budget;
}

void Stream::watch() {
  const bool waits = queued() > 0 && !waits_;
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
  // If a peer sends its last request and hangs up, the send to it fails before that request is read. It is
  // read now, unless the peer has let its replies pile up.
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
  queue_ = {};
  sent_ = 0;
  schedule(Reactor::Clock::now());
}

// If input is unread at close(2), the kernel resets the connection, and the peer may lose what was sent.
void Stream::drop_input() {
  for (std::size_t left = limits_.read_budget; left > 0;) {
    const Received received = reactor_.sockets().receive(socket_.get(), left);
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
