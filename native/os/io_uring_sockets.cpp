#include "os/io_uring_sockets.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace wireup::os {

namespace {

// The room of one receive: enough for a request of any dialect, except for one with a long value. The stream
// reads what does not fit by a plain call. Small, since the first touch of a page costs as much as ten
// system calls.
constexpr std::size_t kRoom = 1024;

// Sends that wait for the end of the turn. A barrier that completes releases more ranks than this.
constexpr std::size_t kMostSends = IoRing::kEntries;

// In SocketCall::fd: the handler has taken the result, or the loop no longer watches the socket.
constexpr int kTaken = -1;

}  // namespace

IoUringSockets::IoUringSockets(std::unique_ptr<IoRing> ring, PlainSockets& plain, std::size_t fewest_calls)
    : ring_(std::move(ring)),
      plain_(plain),
      fewest_calls_(fewest_calls),
      rooms_(SocketBackend::kMostReadable * kRoom) {}

void IoUringSockets::perform(std::vector<SocketCall>& calls) {
  if (!ring_->perform(calls)) ring_.reset();
}

void IoUringSockets::begin_turn(std::span<const int> readable) {
  in_turn_ = true;
  receives_.clear();
  next_receive_ = 0;
  if (!works() || readable.size() < fewest_calls_) return;
  char* room = rooms_.data();
  for (const int socket : readable) {
    receives_.push_back({SocketCall::Kind::receive, socket, std::exchange(room, room + kRoom), kRoom, 0});
  }
  perform(receives_);
}

void IoUringSockets::end_turn() {
  in_turn_ = false;
  if (!waiting_.empty()) send_waiting();
}

Received IoUringSockets::receive(int socket, std::size_t most) {
  const auto is_it = [socket](const SocketCall& call) { return call.fd == socket; };
  auto call = receives_.begin() + static_cast<std::ptrdiff_t>(next_receive_);
  if (call == receives_.end() || !is_it(*call))
    call = std::find_if(receives_.begin(), receives_.end(), is_it);
  if (call == receives_.end()) return plain_.receive(socket, most);
  next_receive_ = static_cast<std::size_t>(call - receives_.begin()) + 1;
  call->fd = kTaken;
  if (call->result < 0) return {.error = -call->result};
  const auto size = static_cast<std::size_t>(call->result);
  return {.bytes = {call->data, size}, .full = size == kRoom};
}

void IoUringSockets::discard(int socket) {
  for (SocketCall& call : receives_) {
    if (call.fd == socket) call.fd = kTaken;
  }
}

std::optional<Sent> IoUringSockets::send(Sender& sender, std::string_view bytes) {
  if (!in_turn_ || !works() || bytes.size() > kMostWaitingBytes) return plain_.send(sender, bytes);
  if (waiting_.size() == kMostSends) send_waiting();
  waiting_.push_back(&sender);
  return std::nullopt;
}

void IoUringSockets::withdraw(Sender& sender) {
  std::ranges::replace(waiting_, &sender, static_cast<Sender*>(nullptr));
}

void IoUringSockets::send_waiting() {
  std::erase(waiting_, nullptr);
  if (!works() || waiting_.size() < fewest_calls_) {
    for (Sender* sender : waiting_) sender->on_sent(send_now(sender->fd(), sender->unsent()));
  } else {
    sends_.clear();
    for (const Sender* sender : waiting_) {
      const std::string_view bytes = sender->unsent();
      // The kernel only reads what is sent.
      sends_.push_back({SocketCall::Kind::send, sender->fd(), const_cast<char*>(bytes.data()),
                        static_cast<std::uint32_t>(bytes.size()), 0});
    }
    perform(sends_);
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      const std::int32_t result = sends_[i].result;
      if (result >= 0) {
        waiting_[i]->on_sent({.size = static_cast<std::size_t>(result)});
      } else {
        waiting_[i]->on_sent({.error = result == -EAGAIN ? 0 : -result});
      }
    }
  }
  waiting_.clear();
}

}  // namespace wireup::os
