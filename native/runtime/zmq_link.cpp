#include "runtime/zmq_link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <utility>

#include "os/error.h"
#include "runtime/link_version.h"

namespace wireup::runtime {
namespace {

constexpr char kData = 'd';
constexpr char kCredit = 'c';
constexpr char kHeartbeat = 'h';
constexpr char kBye = 'b';

// What libzmq adds to a message: the tag, nonce and flags of CURVE, and the longest header.
constexpr int kOverhead = 256;

// Credit is given when so much is processed, so that the sender need not wait for it.
constexpr std::size_t kCreditStep = kZmqWindow / 4;

// Messages that a peer may have sent without credit, and its messages of credit and end.
constexpr int kMaxMessages = static_cast<int>(kZmqWindow / kMinZmqCost) + 64;

std::size_t cost(std::string_view message) { return std::max(message.size(), kMinZmqCost); }

std::string encode_credit(std::size_t bytes) {
  std::string message(1, kCredit);
  for (int shift = 0; shift < 32; shift += 8) message += static_cast<char>(bytes >> shift);
  return message;
}

}  // namespace

void set_up_link(os::ZmqSocket& socket, const ZmqTiming& timing) {
  socket.set_max_message_size(static_cast<std::int64_t>(kMaxZmqMessage) + kOverhead);
  // The credit limits what is sent.
  socket.set(os::kZmqSendHwm, 0);
  socket.set(os::kZmqReceiveHwm, kMaxMessages);
  socket.set(os::kZmqIpv6, 1);
  socket.set(os::kZmqHandshakeInterval, timing.handshake_ms);
  socket.set(os::kZmqHeartbeatInterval, timing.ping_ms);
  socket.set(os::kZmqHeartbeatTimeout, timing.pong_ms);
}

ZmqLink::ZmqLink(os::Reactor& reactor, Side side, const LinkTiming& timing, std::function<void()> on_up,
                 LinkObserver& observer)
    : side_(side),
      timing_(timing),
      on_up_(std::move(on_up)),
      observer_(observer),
      heartbeats_(reactor, timing, *this),
      framer_(0, kMaxPacket) {}

ZmqLink::~ZmqLink() {
  if (!ended_ && port_) port_->send({&kBye, 1});
}

void ZmqLink::send(std::string packet, std::vector<os::UniqueFd> fds) {
  if (packet.empty() || packet.size() > kMaxPacket) throw os::OsError(EMSGSIZE, "zmq_send");
  if (!fds.empty()) throw os::OsError(EOPNOTSUPP, "zmq_send");
  if (ended_) return;
  std::string frame = wire::encode_frame(std::move(packet));
  unsent_ += frame.size();
  (up_ ? queue_ : waiting_).push_back(std::move(frame));
  if (up_) flush();
}

void ZmqLink::queue(std::string bytes) {
  unsent_ += bytes.size();
  queue_.push_back(std::move(bytes));
}

// Sends what the credit permits.
void ZmqLink::flush() {
  while (!queue_.empty() && window_ >= kMinZmqCost) {
    std::string message(1, kData);
    const std::size_t limit = std::min(kMaxZmqMessage, window_);
    while (!queue_.empty() && message.size() < limit) {
      const std::string& bytes = queue_.front();
      const std::size_t size = std::min(bytes.size() - sent_, limit - message.size());
      message.append(bytes, sent_, size);
      sent_ += size;
      unsent_ -= size;
      if (sent_ < bytes.size()) continue;
      sent_ = 0;
      queue_.pop_front();
    }
    window_ -= cost(message);
    port_->send(message);
    heartbeats_.sent();
  }
}

void ZmqLink::flush_waiting() {
  const std::size_t before = unsent_;
  flush();
  if (unsent_ < before) observer_.on_link_taken();
}

void ZmqLink::hold(bool on) {
  held_ = on;
  if (!on && !processing_) deliver_kept(false);
}

// Returns false after the end.
bool ZmqLink::deliver_kept(bool although_held) {
  while ((although_held || !held_) && !kept_.empty()) {
    const std::string message = std::move(kept_.front());
    kept_.pop_front();
    if (!process(message)) return false;
  }
  return true;
}

void ZmqLink::on_port_connected() {
  if (side_ == Side::parent || ended_) return;
  queue(wire::encode_greeting(own_greeting()));
  flush();
  heartbeats_.watch();
}

void ZmqLink::on_port_message(std::string_view message) {
  if (ended_) return;
  heartbeats_.received();
  const char kind = message.empty() ? '\0' : message.front();
  if (kind == kHeartbeat && message.size() == 1) return;
  if (kind == kBye && message.size() == 1)
    return on_port_end(LinkEnd::closed, 0, "the peer closed the connection");
  if (kind == kCredit && message.size() == 5) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < 4; ++i)
      bytes |= std::size_t{static_cast<unsigned char>(message[i + 1])} << (8 * i);
    if (bytes <= kZmqWindow - window_) {
      window_ += bytes;
      return flush_waiting();
    }
  } else if (kind == kData && cost(message) <= kZmqWindow - arrived_) {
    arrived_ += cost(message);
    if (held_ || processing_ || !kept_.empty()) {
      kept_.emplace_back(message);
    } else {
      process(message);
    }
    return;
  }
  end(LinkEnd::invalid, 0, "the peer sent an invalid packet");
}

// Returns false after the end.
bool ZmqLink::process(std::string_view message) {
  const os::Lifetime::Watch watch(lifetime_);
  processing_ = true;
  if (!parse(message.substr(1)) || watch.gone()) return false;
  processing_ = false;
  processed_ += cost(message);
  if (processed_ < kCreditStep) return true;
  arrived_ -= processed_;
  port_->send(encode_credit(std::exchange(processed_, 0)));
  heartbeats_.sent();
  return true;
}

// Returns false after the end.
bool ZmqLink::parse(std::string_view bytes) {
  const os::Lifetime::Watch watch(lifetime_);
  for (;;) {
    std::string_view packet;
    switch (framer_.next(bytes, packet)) {
      case wire::LinkFramer::Result::more:
        return true;
      case wire::LinkFramer::Result::greeting:
        if (!on_greeting()) return false;
        break;
      case wire::LinkFramer::Result::packet:
        observer_.on_link_packet(packet, std::vector<os::UniqueFd>());
        if (watch.gone()) return false;
        break;
      case wire::LinkFramer::Result::invalid:
        end(LinkEnd::invalid, 0, "the peer sent an invalid packet");
        return false;
    }
  }
}

bool ZmqLink::on_greeting() {
  const os::Lifetime::Watch watch(lifetime_);
  if (side_ == Side::parent) queue(wire::encode_greeting(own_greeting()));
  const wire::LinkGreeting& there = *framer_.greeting();
  if (there.protocol != own_greeting().protocol) {
    // The peer gets the reply, and so knows why the link ends.
    flush();
    end(LinkEnd::version, 0, other_version(there));
    return false;
  }
  up_ = true;
  std::ranges::move(std::exchange(waiting_, {}), std::back_inserter(queue_));
  // Before the peer gets the reply, so that what the peer does then comes after on_up().
  if (const auto on_up = std::exchange(on_up_, nullptr)) on_up();
  if (watch.gone()) return false;
  flush_waiting();
  if (side_ == Side::parent) heartbeats_.watch();
  heartbeats_.start();
  return true;
}

// Packets may wait for credit for a long time, so heartbeats do not wait behind them.
void ZmqLink::on_heartbeat_due() {
  port_->send({&kHeartbeat, 1});
  heartbeats_.sent();
}

void ZmqLink::on_silence() { end(LinkEnd::silent, 0, silence_in_words(timing_)); }

void ZmqLink::on_port_end(LinkEnd why, int error, const std::string& detail) {
  if (!ended_ && deliver_kept(true)) end(why, error, detail);
}

// The port may own `detail`, so it lives until the observer has it.
void ZmqLink::end(LinkEnd why, int error, const std::string& detail) {
  ended_ = true;
  heartbeats_.stop();
  queue_.clear();
  waiting_.clear();
  kept_.clear();
  unsent_ = 0;
  auto port = std::exchange(port_, nullptr);
  // The peer ends too.
  if (why != LinkEnd::closed && why != LinkEnd::failed) port->send({&kBye, 1});
  observer_.on_link_end(why, error, detail);
}

}  // namespace wireup::runtime
