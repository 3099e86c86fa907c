#include "os/message_socket.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "os/error.h"
#include "os/fd_message.h"

namespace wireup::os {

namespace {

// Messages received in one turn, so that other sockets get their share.
constexpr int kMessagesPerTurn = 32;

// After too many fds in flight, or no memory, only the receiver's progress helps, and no event reports it.
constexpr auto kRetry = std::chrono::milliseconds(10);

// The part of a unix socket's send buffer that the kernel reserves (unix_dgram_sendmsg(): 32 bytes).
constexpr int kSendOverhead = 32;

void make_room(int fd) {
  int size = 0;
  socklen_t length = sizeof size;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) < 0) throw OsError::last("getsockopt");
  const int needed = static_cast<int>(kMaxMessage) + kSendOverhead;
  if (size >= needed) return;
  // The kernel limits the size to net.core.wmem_max. A message that is too large for it fails when it is
  // sent.
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &needed, sizeof needed) < 0) throw OsError::last("setsockopt");
}

}  // namespace

MessageSocket::MessageSocket(Reactor& reactor, UniqueFd socket, MessageSocketObserver& observer)
    : reactor_(reactor), socket_(std::move(socket)), observer_(observer), buffer_(kMaxMessage) {
  set_nonblocking(socket_.get(), true);
  make_room(socket_.get());
  watched_ = EPOLLIN;
  reactor_.add(socket_.get(), watched_, *this);
}

MessageSocket::~MessageSocket() { detach(); }

void MessageSocket::detach() {
  if (detached_) return;
  detached_ = true;
  reactor_.remove(socket_.get(), *this);
  reactor_.cancel(std::exchange(timer_, 0));
}

void MessageSocket::send(std::string message, std::vector<UniqueFd> fds) {
  if (message.empty() || message.size() > kMaxMessage || fds.size() > kMaxFdsPerMessage) {
    throw OsError(EMSGSIZE, "sendmsg");
  }
  if (detached_ || failed_ != 0) return;
  unsent_ += message.size();
  queue_.push_back({std::move(message), std::move(fds)});
  if (queue_.size() == 1) send_queued();
}

void MessageSocket::send_queued() {
  waits_for_kernel_ = false;
  while (!queue_.empty()) {
    const int error = send_message(socket_.get(), queue_.front().bytes, queue_.front().fds);
    if (error == EAGAIN || error == EWOULDBLOCK) break;
    if (error == ETOOMANYREFS || error == ENOBUFS || error == ENOMEM) {
      retry_later();
      break;
    }
    if (error != 0) {
      fail(error);
      return;
    }
    unsent_ -= queue_.front().bytes.size();
    queue_.pop_front();
  }
  watch();
}

void MessageSocket::send_waiting() {
  const std::size_t before = unsent_;
  send_queued();
  if (unsent_ < before && failed_ == 0) observer_.on_messages_taken();
}

void MessageSocket::drop_queue() {
  queue_.clear();
  unsent_ = 0;
}

void MessageSocket::watch() {
  const bool writes = !queue_.empty() && !waits_for_kernel_;
  const std::uint32_t wanted = std::uint32_t{EPOLLIN} | (writes ? std::uint32_t{EPOLLOUT} : 0U);
  if (wanted == watched_) return;
  watched_ = wanted;
  reactor_.modify(socket_.get(), watched_, *this);
}

void MessageSocket::retry_later() {
  waits_for_kernel_ = true;
  schedule(kRetry, &MessageSocket::send_waiting);
}

void MessageSocket::schedule(Reactor::Clock::duration delay, void (MessageSocket::*method)()) {
  reactor_.cancel(timer_);
  timer_ = reactor_.after(delay, [this, method] {
    timer_ = 0;
    (this->*method)();
  });
}

void MessageSocket::on_ready(std::uint32_t events) {
  if (failed_ != 0) return;  // finish_failed() runs by a timer
  if ((events & EPOLLOUT) && !waits_for_kernel_) send_waiting();
  if (events & ~static_cast<std::uint32_t>(EPOLLOUT)) receive(false);
}

// With `to_the_end` it reads on although sending has failed.
MessageSocket::Stop MessageSocket::receive(bool to_the_end) {
  const Lifetime::Watch watch(lifetime_);
  for (int i = 0; i < kMessagesPerTurn; i++) {
    ReceivedMessage message = receive_message(socket_.get(), buffer_.span());
    if (message.error == EAGAIN || message.error == EWOULDBLOCK) return Stop::drained;
    // If the peer closed before it had read all messages, the kernel reports ECONNRESET once, before the
    // peer's own messages.
    if (message.error == ECONNRESET && !std::exchange(reset_, true)) continue;
    if (message.error != 0 || message.truncated || message.size == 0) {
      const int error = message.error == 0 && message.truncated ? EMSGSIZE : message.error;
      message.fds.clear();
      end(error);
      return Stop::gone;
    }
    std::optional<std::vector<UniqueFd>> fds;
    if (!message.fds_lost) fds = std::move(message.fds);
    message.fds.clear();
    observer_.on_message({buffer_.data(), message.size}, std::move(fds));
    if (watch.gone()) return Stop::gone;
    if (failed_ != 0 && !to_the_end) return Stop::drained;
  }
  return Stop::budget;
}

void MessageSocket::finish_failed() {
  switch (receive(true)) {
    case Stop::gone:
      return;
    case Stop::budget:
      schedule(Reactor::Clock::duration::zero(), &MessageSocket::finish_failed);
      return;
    case Stop::drained:
      break;
  }
  end(failed_ == EPIPE ? 0 : failed_);
}

void MessageSocket::fail(int error) {
  failed_ = error;
  drop_queue();
  schedule(Reactor::Clock::duration::zero(), &MessageSocket::finish_failed);
}

void MessageSocket::end(int error) {
  detach();
  drop_queue();
  observer_.on_message_end(error);
}

}  // namespace wireup::os
