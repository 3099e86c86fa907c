#include "runtime/zmq_parent.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "os/error.h"

namespace wireup::runtime {
namespace {

using Clock = os::Reactor::Clock;

// Milliseconds after which libzmq connects again by itself: about 11 days, twice that as an int at most.
constexpr int kNever = 1'000'000'000;

constexpr int kParentEvents = os::kZmqEventConnectRetried | os::kZmqEventDisconnected |
                              os::kZmqEventHandshakeFailed | os::kZmqEventHandshakeSucceeded |
                              os::kZmqEventHandshakeProtocol | os::kZmqEventHandshakeAuth;

// After a refusal, before the same address is tried again: the parent may not expect this child yet.
constexpr std::chrono::milliseconds kPause{100};

class ParentPort final : public ZmqParentPort {
 public:
  ParentPort(os::Reactor& reactor, ZmqParentOptions options, ZmqPortObserver& observer)
      : reactor_(reactor),
        options_(std::move(options)),
        observer_(&observer),
        context_(std::make_shared<os::ZmqContext>()),
        give_up_(Clock::now() + options_.give_up) {
    connect();
  }
  ~ParentPort() override { reactor_.cancel(timer_); }

  void send(std::string_view message) override {
    if (socket_) socket_->send({message});
  }
  void observe(ZmqPortObserver& observer) override { observer_ = &observer; }
  void receive_now() override {
    if (socket_) socket_->receive();
  }

 private:
  // Tries the next address.
  void connect() {
    socket_.reset();
    refused_ = false;
    socket_ =
        std::make_unique<os::ZmqSocket>(reactor_, context_, os::kZmqDealer, [this](os::ZmqMessage& message) {
          if (message.size() == 1) observer_->on_port_message(message[0].bytes);
        });
    set_up_link(*socket_, options_.timing);
    socket_->set(os::kZmqReconnectInterval, kNever);
    if (!options_.parent_key.empty()) {
      socket_->set(os::kZmqCurveServerKey, options_.parent_key);
      socket_->set(os::kZmqCurvePublicKey, options_.keys.public_key);
      socket_->set(os::kZmqCurveSecretKey, options_.keys.secret_key);
    } else {
      socket_->set(os::kZmqPlainUsername, "agent");
      socket_->set(os::kZmqPlainPassword, options_.password);
    }
    socket_->monitor(kParentEvents, [this](int event, std::uint32_t) { on_event(event); });
    socket_->connect(options_.endpoints[tries_++ % options_.endpoints.size()]);
    try_next_in(options_.try_for);
  }

  void try_next_in(Clock::duration delay) {
    reactor_.cancel(timer_);
    timer_ = reactor_.after(delay, [this] {
      timer_ = 0;
      if (Clock::now() < give_up_) return connect();
      std::string message =
          refused_ ? "the parent refused this host's key at " : "no answer from the parent at ";
      for (const std::string& endpoint : options_.endpoints) message += endpoint + " ";
      message.pop_back();
      observer_->on_port_end(LinkEnd::failed, refused_ ? EACCES : ETIMEDOUT, message);
    });
  }

  void on_event(int event) {
    if (event == os::kZmqEventHandshakeSucceeded) {
      connected_ = true;
      reactor_.cancel(std::exchange(timer_, 0));
      observer_->on_port_connected();
    } else if (connected_) {
      if (event == os::kZmqEventDisconnected) finish();
    } else {
      if (event == os::kZmqEventHandshakeAuth) refused_ = true;
      const bool all_tried = tries_ % options_.endpoints.size() == 0;
      try_next_in(all_tried ? Clock::duration(kPause) : Clock::duration::zero());
    }
  }

  // Delivers what has arrived, then ends the link.
  void finish() {
    timer_ = reactor_.after({}, [this] {
      timer_ = 0;
      if (!socket_->receive()) return;
      if (socket_->readable()) return finish();
      observer_->on_port_end(LinkEnd::closed, 0, "the connection was lost");
    });
  }

  os::Reactor& reactor_;
  ZmqParentOptions options_;
  ZmqPortObserver* observer_;
  std::shared_ptr<os::ZmqContext> context_;
  std::unique_ptr<os::ZmqSocket> socket_;
  std::size_t tries_ = 0;
  Clock::time_point give_up_;
  bool refused_ = false;  // by the parent, at the last address
  bool connected_ = false;
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace

std::unique_ptr<ZmqParentPort> connect_to_zmq_hub(os::Reactor& reactor, ZmqParentOptions options,
                                                  ZmqPortObserver& observer) {
  return std::make_unique<ParentPort>(reactor, std::move(options), observer);
}

std::unique_ptr<ZmqLink> connect_to_zmq_parent(os::Reactor& reactor, ZmqParentOptions options,
                                               std::function<void()> on_up, LinkObserver& observer) {
  auto link = std::make_unique<ZmqLink>(reactor, ZmqLink::Side::child, options.timing.link, std::move(on_up),
                                        observer);
  link->attach(connect_to_zmq_hub(reactor, std::move(options), *link));
  return link;
}

std::unique_ptr<ZmqLink> link_to_zmq_parent(os::Reactor& reactor, std::unique_ptr<ZmqParentPort> port,
                                            const LinkTiming& timing, std::function<void()> on_up,
                                            LinkObserver& observer) {
  auto link = std::make_unique<ZmqLink>(reactor, ZmqLink::Side::child, timing, std::move(on_up), observer);
  port->observe(*link);
  link->attach(std::move(port));
  link->on_port_connected();
  return link;
}

}  // namespace wireup::runtime
