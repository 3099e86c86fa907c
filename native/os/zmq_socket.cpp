#include "os/zmq_socket.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "os/error.h"

namespace wireup::os {
namespace {

// In one turn, so that other fds get their share.
constexpr int kZmqMessagesPerTurn = 64;

constexpr std::size_t kKeySize = 41;  // Z85 of 32 bytes, and the terminator

OsError failure(const ZmqLibrary& library, const char* call, std::string subject = {}) {
  return OsError(library.zmq_errno(), call, std::move(subject));
}

std::string text_of(const char* property) { return property == nullptr ? std::string() : property; }

int number_of(const char* property) {
  int number = -1;
  if (property != nullptr) std::from_chars(property, property + std::strlen(property), number);
  return number;
}

}  // namespace

void require_zmq(bool curve) {
  if (ZmqLibrary::get().zmq_has("curve") != 1 && curve)
    throw ZmqMissing("this libzmq has no CURVE, so its links would not be secure: " +
                     std::string(kInstallZmq));
}

ZmqKeys make_zmq_keys() {
  require_zmq(true);
  const ZmqLibrary& library = ZmqLibrary::get();
  std::array<char, kKeySize> public_key{};
  std::array<char, kKeySize> secret_key{};
  if (library.zmq_curve_keypair(public_key.data(), secret_key.data()) != 0)
    throw failure(library, "zmq_curve_keypair");
  return {public_key.data(), secret_key.data()};
}

ZmqKeys zmq_keys_of(const std::string& secret_key) {
  require_zmq(true);
  const ZmqLibrary& library = ZmqLibrary::get();
  // libzmq does not check the length.
  if (secret_key.size() != kKeySize - 1) throw OsError(EINVAL, "zmq_curve_public");
  std::array<char, kKeySize> public_key{};
  if (library.zmq_curve_public(public_key.data(), secret_key.c_str()) != 0)
    throw failure(library, "zmq_curve_public");
  return {public_key.data(), secret_key};
}

ZmqContext::ZmqContext() : context_(ZmqLibrary::get().zmq_ctx_new()) {
  if (context_ == nullptr) throw failure(ZmqLibrary::get(), "zmq_ctx_new");
}

ZmqContext::~ZmqContext() {
  while (ZmqLibrary::get().zmq_ctx_term(context_) != 0 && ZmqLibrary::get().zmq_errno() == EINTR) {
  }
}

ZmqSocket::ZmqSocket(Reactor& reactor, std::shared_ptr<ZmqContext> context, int type, OnMessage on_message)
    : reactor_(reactor),
      library_(ZmqLibrary::get()),
      context_(std::move(context)),
      on_message_(std::move(on_message)),
      socket_(library_.zmq_socket(context_->get(), type)) {
  if (socket_ == nullptr) throw failure(library_, "zmq_socket");
  try {
    set(kZmqLinger, ZmqContext::kLingerMs);
    std::size_t size = sizeof(fd_);
    if (library_.zmq_getsockopt(socket_, kZmqFd, &fd_, &size) != 0) throw failure(library_, "zmq_getsockopt");
    reactor_.add(fd_, EPOLLIN, *this);
  } catch (...) {
    library_.zmq_close(socket_);
    throw;
  }
}

ZmqSocket::~ZmqSocket() {
  reactor_.remove(fd_, *this);
  reactor_.cancel(timer_);
  if (monitor_) library_.zmq_socket_monitor(socket_, nullptr, 0);
  monitor_.reset();
  library_.zmq_close(socket_);
}

void ZmqSocket::set(int option, int value) {
  if (library_.zmq_setsockopt(socket_, option, &value, sizeof(value)) != 0)
    throw failure(library_, "zmq_setsockopt", std::to_string(option));
}

void ZmqSocket::set(int option, std::string_view value) {
  // The value is not part of the error, because it may be a secret.
  if (library_.zmq_setsockopt(socket_, option, value.data(), value.size()) != 0)
    throw failure(library_, "zmq_setsockopt", std::to_string(option));
}

void ZmqSocket::set_max_message_size(std::int64_t bytes) {
  if (library_.zmq_setsockopt(socket_, kZmqMaxMessageSize, &bytes, sizeof(bytes)) != 0)
    throw failure(library_, "zmq_setsockopt", std::to_string(kZmqMaxMessageSize));
}

void ZmqSocket::bind(const std::string& endpoint) {
  if (library_.zmq_bind(socket_, endpoint.c_str()) != 0) throw failure(library_, "zmq_bind", endpoint);
}

void ZmqSocket::unbind(const std::string& endpoint) {
  if (library_.zmq_unbind(socket_, endpoint.c_str()) != 0) throw failure(library_, "zmq_unbind", endpoint);
}

void ZmqSocket::connect(const std::string& endpoint) {
  if (library_.zmq_connect(socket_, endpoint.c_str()) != 0) throw failure(library_, "zmq_connect", endpoint);
  look_later();
}

std::string ZmqSocket::last_endpoint() {
  std::array<char, 256> text{};
  std::size_t size = text.size();
  if (library_.zmq_getsockopt(socket_, kZmqLastEndpoint, text.data(), &size) != 0)
    throw failure(library_, "zmq_getsockopt");
  return text.data();
}

int ZmqSocket::send(std::initializer_list<std::string_view> parts) {
  look_later();
  std::size_t left = parts.size();
  for (const std::string_view part : parts) {
    const int flags = kZmqDontWait | (--left > 0 ? kZmqSendMore : 0);
    while (library_.zmq_send(socket_, part.data(), part.size(), flags) < 0) {
      if (const int error = library_.zmq_errno(); error != EINTR) return error;
    }
  }
  return 0;
}

void ZmqSocket::look_later() {
  if (timer_ != 0) return;
  timer_ = reactor_.after({}, [this] {
    timer_ = 0;
    on_ready(EPOLLIN);
  });
}

void ZmqSocket::on_ready(std::uint32_t) { receive(); }

bool ZmqSocket::readable() {
  int events = 0;
  std::size_t size = sizeof(events);
  return library_.zmq_getsockopt(socket_, kZmqEvents, &events, &size) == 0 && (events & kZmqPollIn) != 0;
}

bool ZmqSocket::receive() {
  const Lifetime::Watch watch(lifetime_);
  for (int i = 0; i < kZmqMessagesPerTurn; ++i) {
    ZmqMessage message;
    for (bool more = true; more;) {
      ZmqRawMessage raw;
      library_.zmq_msg_init(&raw);
      if (library_.zmq_msg_recv(&raw, socket_, kZmqDontWait) < 0) {
        library_.zmq_msg_close(&raw);
        return true;
      }
      message.push_back({{static_cast<char*>(library_.zmq_msg_data(&raw)), library_.zmq_msg_size(&raw)},
                         text_of(library_.zmq_msg_gets(&raw, "User-Id")),
                         number_of(library_.zmq_msg_gets(&raw, "__fd"))});
      more = library_.zmq_msg_more(&raw) != 0;
      library_.zmq_msg_close(&raw);
    }
    on_message_(message);
    if (watch.gone()) return false;
  }
  look_later();
  return true;
}

void ZmqSocket::monitor(int events, OnEvent on_event) {
  // Unique in the context while the socket lives.
  const std::string endpoint =
      "inproc://monitor-" + std::to_string(reinterpret_cast<std::uintptr_t>(socket_));
  if (library_.zmq_socket_monitor(socket_, endpoint.c_str(), events) != 0)
    throw failure(library_, "zmq_socket_monitor");
  monitor_ = std::make_unique<ZmqSocket>(
      reactor_, context_, kZmqPair, [on_event = std::move(on_event)](ZmqMessage& message) {
        // 16 bits of the event and 32 bits of its value, in the host's byte order.
        std::uint16_t event = 0;
        std::uint32_t value = 0;
        if (message.empty() || message[0].bytes.size() < sizeof(event) + sizeof(value)) return;
        std::memcpy(&event, message[0].bytes.data(), sizeof(event));
        std::memcpy(&value, message[0].bytes.data() + sizeof(event), sizeof(value));
        on_event(event, value);
      });
  monitor_->set(kZmqReceiveHwm, 0);
  monitor_->connect(endpoint);
}

}  // namespace wireup::os
