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
    : reactor_(reactor), socket_(std::move(socket)), observer_(observer), limits_(limits) {
  set_nonblocking(socket_.get(), true);
  set_nodelay(socket_.get());
  watched_ = EPOLLIN;
  reactor_.add(socket_.get(), watched_, *this);
}

Stream::~Stream() { detach(); }

void Stream::detach() {
  if (detached_) return;
  detached_ = true;
  reactor_.remove(socket_.get(), *this);
  reactor_.cancel(std::exchange(turn_, 0));
}

UniqueFd Stream::release() {
  detach();
  lifetime_.end();
  return std::move(socket_);
}

void Stream::send(std::string_view bytes) {
  if (detached_ || closing_ || failed_ != 0) return;
  if (queued() == 0) bytes.remove_prefix(write(bytes));
  if (bytes.empty() || failed_ != 0) return;
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
  watch();
}

void Stream::close_after_flush(Reactor::Clock::duration patience) {
  if (detached_ || closing_) return;
  closing_ = true;
  if (failed_ != 0) return;
  schedule(queued() == 0 ? Reactor::Clock::now() : Reactor::Clock::now() + patience);
  watch();
}

void Stream::on_ready(std::uint32_t events) {
  if (failed_ != 0) return;  // its turn comes before the next wait
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
  const auto buffer = reactor_.read_buffer();
  std::size_t left = limits_.read_budget;
  while (left > 0) {
    const std::size_t wanted = std::min(left, buffer.size());
    const ssize_t count = ::recv(socket_.get(), buffer.data(), wanted, 0);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Stop::drained;
    }
    if (count <= 0) {
      end(count == 0 ? 0 : errno);
      return Stop::gone;
    }
    const auto size = static_cast<std::size_t>(count);
    left -= size;
    observer_.on_bytes(*this, {buffer.data(), size});
    if (watch.gone()) return Stop::gone;
    if (closing_ || (failed_ != 0 && !to_the_end)) return Stop::drained;
    // The socket is level-triggered: what came meanwhile, EOF too, is told on the next turn.
    if (size < wanted && !to_the_end) return Stop::drained;
  }
  return Stop::budget;
}

std::size_t Stream::write(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::send(socket_.get(), bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (count >= 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != EINTR) {
      fail(errno);
      break;
    }
  }
  return done;
}

void Stream::write_queued() {
  written_ += write(std::string_view(queue_).substr(written_));
  if (queued() == 0) {
    // Few peers are ever behind; those that were give the memory back.
    queue_ = {};
    written_ = 0;
  }
  if (failed_ == 0) watch();
}

void Stream::watch() {
  const std::uint32_t wanted =
      (closing_ ? 0U : std::uint32_t{EPOLLIN}) | (queued() > 0 ? std::uint32_t{EPOLLOUT} : 0U);
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
  queue_ = {};
  written_ = 0;
  schedule(Reactor::Clock::now());
}

// Unread input at close() makes the kernel reset the connection, and the reset can overtake what was written.
void Stream::drop_input() {
  const auto buffer = reactor_.read_buffer();
  for (std::size_t left = limits_.read_budget; left > 0;) {
    const ssize_t count = ::recv(socket_.get(), buffer.data(), std::min(left, buffer.size()), 0);
    if (count <= 0) return;
    left -= static_cast<std::size_t>(count);
  }
}

void Stream::end(int error) {
  detach();
  if (closing_) drop_input();
  observer_.on_end(*this, error);
}

}  // namespace wireup::os
