#include "os/socket_batch.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace wireup::os {

namespace {

// How many calls are worth a ring (docs/performance.md has the times): one call costs more by it than by
// itself, two cost less. To open it takes half a millisecond at first, which few ranks never save.
constexpr std::size_t kWorthUsing = 2;
constexpr std::size_t kWorthOpening = 8;

// Room for a request of any dialect but a long value's; what is more, the stream reads by itself. Small,
// since a page that is touched first costs as much as ten system calls.
constexpr std::size_t kRoom = 1024;

bool is_full(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

Sent send_now(int socket, std::string_view bytes) {
  Sent sent{0, 0};
  while (sent.size < bytes.size()) {
    const ssize_t count = ::send(socket, bytes.data() + sent.size, bytes.size() - sent.size, MSG_NOSIGNAL);
    if (count >= 0) {
      sent.size += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      sent.error = is_full(errno) ? 0 : errno;
      break;
    }
  }
  return sent;
}

bool SocketBatch::is_worth_it(std::size_t count) {
  if (ring_) return count >= kWorthUsing;
  if (is_allowed_ && count >= kWorthOpening) {
    ring_ = IoRing::open();
    is_allowed_ = ring_ != nullptr;
  }
  return ring_ != nullptr;
}

void SocketBatch::perform(std::span<SocketCall> calls) {
  if (ring_->perform(calls)) return;
  ring_.reset();
  is_allowed_ = false;
}

bool SocketBatch::receive(std::span<const int> sockets) {
  if (!is_worth_it(sockets.size())) return false;
  if (!rooms_) rooms_ = std::make_unique<Buffer>(kMostSockets * kRoom);
  receives_.clear();
  char* room = rooms_->data();
  for (const int socket : sockets) {
    receives_.push_back({SocketCall::Kind::receive, socket, std::exchange(room, room + kRoom), kRoom, 0});
  }
  perform(receives_);
  return true;
}

SocketBatch::Received SocketBatch::take(std::size_t index) const {
  const SocketCall& call = receives_[index];
  if (call.result < 0) return {.error = -call.result};
  const auto size = static_cast<std::size_t>(call.result);
  return {.bytes = {call.data, size}, .full = size == kRoom};
}

SocketBatch::Ticket SocketBatch::add(Sender& sender, int socket, std::string_view bytes) {
  if (!is_open_ || bytes.size() > kMostBytes) return 0;
  sends_.push_back({&sender, socket, bytes_.size(), bytes.size()});
  bytes_.append(bytes);
  return static_cast<Ticket>(sends_.size());
}

bool SocketBatch::extend(Ticket ticket, std::string_view bytes) {
  if (ticket != sends_.size() || bytes.size() > kMostBytes) return false;
  sends_.back().size += bytes.size();
  bytes_.append(bytes);
  return true;
}

void SocketBatch::settle(Ticket ticket) {
  Send& send = sends_[ticket - 1];
  report(send, send_now(send.socket, std::string_view(bytes_).substr(send.begin, send.size)));
}

void SocketBatch::report(Send& send, const Sent& sent) {
  const std::string_view left =
      std::string_view(bytes_).substr(send.begin + sent.size, send.size - sent.size);
  std::exchange(send.sender, nullptr)->on_sent(left, sent.error);
}

void SocketBatch::flush() {
  if (!sends_.empty()) send_all();
}

void SocketBatch::send_all() {
  if (ring_ == nullptr || sends_.size() < kWorthUsing) {
    for (Ticket ticket = 1; ticket <= sends_.size(); ++ticket) {
      if (sends_[ticket - 1].sender != nullptr) settle(ticket);
    }
  } else {
    calls_.clear();
    for (const Send& send : sends_) {
      if (send.sender == nullptr) continue;
      calls_.push_back({SocketCall::Kind::send, send.socket, bytes_.data() + send.begin,
                        static_cast<std::uint32_t>(send.size), 0});
    }
    perform(calls_);
    auto call = calls_.cbegin();
    for (Send& send : sends_) {
      if (send.sender == nullptr) continue;
      const std::int32_t result = call++->result;
      report(send, result < 0 ? Sent{0, is_full(-result) ? 0 : -result}
                              : Sent{static_cast<std::size_t>(result), 0});
    }
  }
  sends_.clear();
  bytes_.clear();
}

}  // namespace wireup::os
