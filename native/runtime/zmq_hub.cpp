#include "runtime/zmq_hub.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "os/limits.h"
#include "wire/zmq_key.h"

namespace wireup::runtime {
namespace {

// RFC 27. It is the same in each context.
constexpr const char* kZapEndpoint = "inproc://zeromq.zap.01";
constexpr std::string_view kZapVersion = "1.0";
constexpr std::string_view kDomain = "wireup";

// The parts of a request: version, request id, domain, address, routing id, mechanism, credentials.
constexpr std::size_t kRequestId = 1;
constexpr std::size_t kMechanism = 5;
constexpr std::size_t kFirstCredential = 6;
constexpr std::size_t kSecondCredential = 7;

// Accepted sockets that wait: all children of a wide parent at once.
constexpr int kBacklog = 1024;

// Turns in which what a connection has sent is read before its end. ROUTER takes one message of each
// connection in turn, so they are enough for all children's windows.
constexpr int kLastHubTurns = 64;

// The User-Id of peers that join. The others' are numbers of children.
constexpr std::string_view kJoin = "join";

// What libzmq opens itself for a context, its sockets and its listeners.
constexpr std::size_t kOwnFds = 64;

// 0: it is no TCP socket.
int local_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

constexpr int kEvents = os::kZmqEventAccepted | os::kZmqEventDisconnected;

}  // namespace

class ZmqHub::Port final : public ZmqPort {
 public:
  Port(ZmqHub& hub, std::uint32_t child) : hub_(hub), child_(child) {}
  ~Port() override { hub_.forget(child_); }
  void send(std::string_view message) override {
    const Child& child = hub_.children_.at(child_);
    // An error means that the connection has ended, which the monitor reports.
    if (!child.routing_id.empty()) hub_.router_.send({child.routing_id, message});
  }
  void receive_now() override { hub_.receive_now(); }

 private:
  ZmqHub& hub_;
  std::uint32_t child_;
};

ZmqHub::ZmqHub(os::Reactor& reactor, const ZmqHubOptions& options)
    : reactor_(reactor),
      secure_(!options.keys.secret_key.empty()),
      timing_(options.timing.link),
      context_(std::make_shared<os::ZmqContext>()),
      zap_(reactor, context_, os::kZmqRep, [this](os::ZmqMessage& request) { on_zap(request); }),
      router_(reactor, context_, os::kZmqRouter, [this](os::ZmqMessage& message) { on_message(message); }),
      max_unbound_(options.peers + kMaxUnbound) {
  // libzmq accepts no connection without a free fd, and peers that wait for others hold theirs.
  os::make_room_for_fds(options.peers + max_unbound_ + kOwnFds);
  zap_.bind(kZapEndpoint);
  set_up_link(router_, options.timing);
  router_.set(os::kZmqRouterMandatory, 1);
  router_.set(os::kZmqBacklog, kBacklog);
  router_.set(os::kZmqZapDomain, kDomain);
  if (secure_) {
    router_.set(os::kZmqCurveServer, 1);
    router_.set(os::kZmqCurveSecretKey, options.keys.secret_key);
  } else {
    router_.set(os::kZmqPlainServer, 1);
  }
  router_.monitor(kEvents, [this](int event, std::uint32_t value) { on_event(event, value); });
  for (const std::string& address : options.addresses) {
    router_.bind("tcp://" + address + ":*");
    endpoints_.push_back(router_.last_endpoint());
    const std::string& endpoint = endpoints_.back();
    ports_.insert(std::stoi(endpoint.substr(endpoint.rfind(':') + 1)));
  }
}

ZmqHub::~ZmqHub() {
  reactor_.cancel(sweep_timer_);
  reactor_.cancel(close_timer_);
}

std::unique_ptr<ZmqLink> ZmqHub::expect(std::uint32_t child, const std::string& credential,
                                        std::function<void()> on_up, LinkObserver& observer) {
  return add(child, {nullptr, std::to_string(child), credential}, std::move(on_up), observer);
}

std::unique_ptr<ZmqLink> ZmqHub::adopt(std::uint32_t child, const Joiner& peer, std::function<void()> on_up,
                                       LinkObserver& observer) {
  auto link = add(child, {nullptr, std::string(kJoin), {}}, std::move(on_up), observer);
  bind(children_.find(child), peer.routing_id, peer.fd);
  return link;
}

std::unique_ptr<ZmqLink> ZmqHub::add(std::uint32_t number, Child child, std::function<void()> on_up,
                                     LinkObserver& observer) {
  auto link = std::make_unique<ZmqLink>(reactor_, ZmqLink::Side::parent, timing_, std::move(on_up), observer);
  child.link = link.get();
  children_.emplace(number, std::move(child));
  link->attach(std::make_unique<Port>(*this, number));
  return link;
}

void ZmqHub::admit_joins(std::string credential, OnJoin on_join) {
  join_credential_ = std::move(credential);
  on_join_ = std::move(on_join);
}

void ZmqHub::forget(std::uint32_t child) {
  const auto found = children_.find(child);
  bound_.erase(found->second.routing_id);
  children_.erase(found);
}

// Of all children: ROUTER decides the order.
void ZmqHub::receive_now() {
  for (int i = 0; i < kLastHubTurns && router_.readable(); ++i) {
    if (!router_.receive()) return;
  }
}

void ZmqHub::on_zap(const os::ZmqMessage& request) {
  // libzmq sends it, so its form is right.
  const std::string user = request.size() > kFirstCredential ? admit(request[kMechanism].bytes, request) : "";
  const std::string_view id = request.size() > kRequestId ? std::string_view(request[kRequestId].bytes) : "";
  const bool ok = !user.empty();
  zap_.send({kZapVersion, id, ok ? "200" : "400", ok ? "OK" : "refused", user, ""});
}

// Returns the number of the child, or an empty text.
std::string ZmqHub::admit(std::string_view mechanism, const os::ZmqMessage& request) const {
  std::string credential;
  if (secure_ && mechanism == "CURVE") {
    credential = wire::encode_z85(request[kFirstCredential].bytes);
  } else if (!secure_ && mechanism == "PLAIN" && request.size() > kSecondCredential) {
    credential = request[kSecondCredential].bytes;
  }
  if (credential.empty()) return {};
  if (on_join_ && wire::same_secret(join_credential_, credential)) return std::string(kJoin);
  for (const auto& [number, child] : children_) {
    if (child.routing_id.empty() && wire::same_secret(child.credential, credential))
      return std::to_string(number);
  }
  return {};
}

void ZmqHub::on_message(const os::ZmqMessage& message) {
  if (message.size() != 2) return refuse(message);
  const auto bound = bound_.find(message[0].bytes);
  if (bound == bound_.end() && message[1].user_id == kJoin) return on_join_message(message);
  const auto found = bound == bound_.end() ? bind(message) : children_.find(bound->second);
  if (found == children_.end() || message[1].user_id != found->second.user) return refuse(message);
  found->second.link->on_port_message(message[1].bytes);
}

void ZmqHub::on_join_message(const os::ZmqMessage& message) {
  read_events();
  remove_unbound(message[1].fd);
  const OnJoin on_join = on_join_;  // it may be replaced meanwhile
  if (!on_join || !on_join({message[0].bytes, message[1].fd}, message[1].bytes)) refuse(message);
}

// The first message of a connection.
ZmqHub::Children::iterator ZmqHub::bind(const os::ZmqMessage& message) {
  const std::string& user = message[1].user_id;
  std::uint32_t number = 0;
  const auto [end, error] = std::from_chars(user.data(), user.data() + user.size(), number);
  if (error != std::errc() || user.empty()) return children_.end();
  read_events();
  const auto found = children_.find(number);
  if (found == children_.end() || !found->second.routing_id.empty()) return children_.end();
  bind(found, message[0].bytes, message[1].fd);
  return found;
}

void ZmqHub::bind(Children::iterator child, const std::string& routing_id, int fd) {
  child->second.routing_id = routing_id;
  child->second.fd = fd;
  bound_.emplace(routing_id, child->first);
  remove_unbound(fd);
  if (closed_.contains(fd)) {
    child->second.gone = true;
    sweep_later(kLastHubTurns);
  }
}

void ZmqHub::on_event(int event, std::uint32_t value) {
  const int fd = static_cast<int>(value);
  if (event == os::kZmqEventAccepted) {
    closed_.erase(fd);
    add_unbound(fd);
  } else if (remove_unbound(fd)) {
    ++refused_;
    closed_.insert(fd);
  } else {
    for (auto& [number, child] : children_) {
      if (child.fd != fd) continue;
      child.gone = true;
      sweep_later(kLastHubTurns);
    }
  }
}

void ZmqHub::add_unbound(int fd) {
  // The end of the earlier connection with this fd was not reported.
  if (remove_unbound(fd)) ++refused_;
  unbound_[fd] = ++accepted_;
  by_age_[accepted_] = fd;
  if (by_age_.size() <= max_unbound_ || close_timer_ != 0) return;
  close_timer_ = reactor_.after({}, [this] {
    close_timer_ = 0;
    close_oldest();
  });
}

// An fd may be that of a connection that has ended and, since then, that of another one. So before an fd is
// used, all its events are read. This comes to an end even if others connect all the time: libzmq needs many
// times as long for a connection as this thread for its events.
void ZmqHub::read_events() {
  while (router_.has_events()) router_.receive_events();
}

void ZmqHub::close_oldest() {
  read_events();
  while (by_age_.size() > max_unbound_) {
    const int oldest = by_age_.begin()->second;
    by_age_.erase(by_age_.begin());
    close_connection(oldest);
  }
}

bool ZmqHub::remove_unbound(int fd) {
  const auto found = unbound_.find(fd);
  if (found == unbound_.end()) return false;
  by_age_.erase(found->second);
  unbound_.erase(found);
  return true;
}

void ZmqHub::refuse(const os::ZmqMessage& message) {
  ++refused_;
  const int fd = message.back().fd;
  remove_unbound(fd);
  close_connection(fd);
}

// libzmq has no call for it, but it closes a connection that it can no longer read. It may have closed it
// already, so the fd may be that of another file now. Only libzmq's thread opens files beside this thread,
// and only connections of this hub, so the fd cannot become another file's between the check and the call.
void ZmqHub::close_connection(int fd) const {
  if (ports_.contains(local_port(fd))) ::shutdown(fd, SHUT_RDWR);
}

void ZmqHub::sweep_later(int turns) {
  reactor_.cancel(sweep_timer_);
  sweep_timer_ = reactor_.after({}, [this, turns] {
    sweep_timer_ = 0;
    sweep(turns);
  });
}

// Ends the links of connections that have ended, when all their messages are read.
void ZmqHub::sweep(int turns) {
  const os::Lifetime::Watch watch(lifetime_);
  if (!router_.receive()) return;
  if (router_.readable() && turns > 0) return sweep_later(turns - 1);
  for (;;) {
    const auto gone = std::ranges::find_if(children_, [](const auto& entry) { return entry.second.gone; });
    if (gone == children_.end()) return;
    gone->second.gone = false;
    gone->second.fd = -1;
    gone->second.link->on_port_end(LinkEnd::closed, 0, "the connection was lost");
    if (watch.gone()) return;
  }
}

}  // namespace wireup::runtime
