// Which peers a hub admits, and what hostile ones can do.
#include "runtime/zmq_hub.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "os/limits.h"
#include "runtime/link_support.h"
#include "runtime/link_version.h"
#include "wire/link_framer.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace {

constexpr ZmqTiming kFast{.link = {50ms, 300ms}, .ping_ms = 50, .pong_ms = 1000, .handshake_ms = 500};
// For tests in which no handshake is to fail, also on a busy machine.
constexpr ZmqTiming kLongHandshake{
    .link = {50ms, 300ms}, .ping_ms = 50, .pong_ms = 1000, .handshake_ms = 60'000};

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

constexpr int kZmqRoutingId = 5;  // ZMQ_ROUTING_ID

int port_of(const std::string& endpoint) { return std::stoi(endpoint.substr(endpoint.rfind(':') + 1)); }

os::UniqueFd connect_to(const std::string& endpoint) {
  os::UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port_of(endpoint));
  REQUIRE(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return fd;
}

// Listens, and accepts nothing.
struct Listener {
  Listener() {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof(address);
    REQUIRE(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd.get(), 8) == 0);
    REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    endpoint = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  os::UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string endpoint;
};

// A network between one child and its parent that can be cut.
class Network {
 public:
  explicit Network(const std::string& target) : target_(target), thread_([this] { run(); }) {}
  ~Network() {
    state_ = State::closed;
    thread_.join();
  }
  const std::string& endpoint() const { return listener_.endpoint; }
  void close() { state_ = State::closed; }
  void lose_packets() { state_ = State::lossy; }

 private:
  enum class State { up, lossy, closed };

  void run() {
    pollfd accepting{listener_.fd.get(), POLLIN, 0};
    while (::poll(&accepting, 1, 10) == 0) {
      if (state_ == State::closed) return;
    }
    const os::UniqueFd one(::accept(listener_.fd.get(), nullptr, nullptr));
    const os::UniqueFd two = connect_to(target_);
    std::array<pollfd, 2> fds{{{one.get(), POLLIN, 0}, {two.get(), POLLIN, 0}}};
    std::array<char, 65'536> bytes{};
    while (state_ != State::closed) {
      if (state_ == State::lossy || ::poll(fds.data(), fds.size(), 10) <= 0) {
        ::poll(nullptr, 0, 1);
        continue;
      }
      for (std::size_t i = 0; i < fds.size(); ++i) {
        if (fds[i].revents == 0) continue;
        const ssize_t size = ::read(fds[i].fd, bytes.data(), bytes.size());
        if (size <= 0) return;
        for (ssize_t sent = 0; sent < size;) {
          const ssize_t part =
              ::send(fds[1 - i].fd, bytes.data() + sent, static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
          if (part < 0) return;
          sent += part;
        }
      }
    }
  }

  Listener listener_;
  std::string target_;
  std::atomic<State> state_ = State::up;
  std::thread thread_;
};

struct Parent {
  explicit Parent(ZmqTiming timing = kFast) : hub(reactor, {{"127.0.0.1"}, keys, timing}) {}

  std::unique_ptr<ZmqLink> expect(std::uint32_t child, const std::string& key) {
    return hub.expect(
        child, key, [this, child] { ups.push_back(child); }, ends[child]);
  }
  ZmqParentOptions options(const os::ZmqKeys& child) const {
    ZmqParentOptions result{hub.endpoints(), keys.public_key, child};
    result.timing = kFast;
    result.try_for = 500ms;
    return result;
  }

  os::Reactor reactor;
  os::ZmqKeys keys = os::make_zmq_keys();
  std::vector<std::uint32_t> ups;
  std::map<std::uint32_t, KeepingObserver> ends;
  ZmqHub hub;
};

// A peer with a valid key that sends what it likes.
struct Hostile {
  Hostile(Parent& parent, const os::ZmqKeys& keys, std::string_view routing_id = {})
      : socket(parent.reactor, std::make_shared<os::ZmqContext>(), os::kZmqDealer,
               [this](os::ZmqMessage& message) { received.push_back(message.at(0).bytes); }) {
    if (!routing_id.empty()) socket.set(kZmqRoutingId, routing_id);
    socket.set(os::kZmqCurveServerKey, parent.keys.public_key);
    socket.set(os::kZmqCurvePublicKey, keys.public_key);
    socket.set(os::kZmqCurveSecretKey, keys.secret_key);
    socket.connect(parent.hub.endpoints().at(0));
  }
  void send(std::string_view message) { CHECK(socket.send({message}) == 0); }
  void greet() { send("d" + wire::encode_greeting(own_greeting())); }

  std::vector<std::string> received;
  os::ZmqSocket socket;
};

}  // namespace

TEST_CASE("zmq hub: many children, each with its own link") {
  Parent parent(kLongHandshake);
  constexpr std::uint32_t kChildren = 40;
  std::vector<os::ZmqKeys> keys;
  std::vector<std::unique_ptr<ZmqLink>> links;
  std::vector<std::unique_ptr<ZmqLink>> children;
  std::vector<KeepingObserver> child_ends(kChildren);
  for (std::uint32_t i = 0; i < kChildren; ++i) {
    keys.push_back(os::make_zmq_keys());
    links.push_back(parent.expect(i, keys[i].public_key));
    links[i]->send("to " + std::to_string(i));
  }
  for (std::uint32_t i = 0; i < kChildren; ++i) {
    ZmqParentOptions options = parent.options(keys[i]);
    options.timing = kLongHandshake;
    options.try_for = 60s;
    children.push_back(connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, child_ends[i]));
    children[i]->send("from " + std::to_string(i));
  }
  run_until(parent.reactor, [&] {
    return std::ranges::all_of(child_ends, [](const auto& end) { return !end.packets.empty(); }) &&
           std::ranges::all_of(parent.ends, [](const auto& end) { return !end.second.packets.empty(); });
  });
  for (std::uint32_t i = 0; i < kChildren; ++i) {
    CHECK(parent.ends[i].packets == std::vector<std::string>{"from " + std::to_string(i)});
    CHECK(child_ends[i].packets == std::vector<std::string>{"to " + std::to_string(i)});
  }
  CHECK(parent.ups.size() == kChildren);
  CHECK(parent.hub.refused() == 0);
}

TEST_CASE("zmq hub: refuses and counts peers that it does not expect") {
  Parent parent;
  const os::ZmqKeys child_keys = os::make_zmq_keys();
  const auto link = parent.expect(1, child_keys.public_key);

  KeepingObserver refused_end;
  ZmqParentOptions options = parent.options(os::make_zmq_keys());
  options.give_up = 1ms;
  SUBCASE("a key of no child") {}
  SUBCASE("the key of a child, without its secret") { options.keys.public_key = child_keys.public_key; }
  SUBCASE("another key of the parent") {
    options.keys = child_keys;
    options.parent_key = os::make_zmq_keys().public_key;
  }
  SUBCASE("a password in place of a key") {
    options.parent_key.clear();
    options.password = child_keys.public_key;
  }
  const auto refused = connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, refused_end);
  run_until(parent.reactor, [&] { return refused_end.end.has_value() && parent.hub.refused() > 0; });
  CHECK(refused_end.end == LinkEnd::failed);
  CHECK(parent.ups.empty());

  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(child_keys), nullptr, child_end);
  run_until(parent.reactor, [&] { return parent.ups.size() == 1; });
  CHECK_FALSE(parent.ends[1].end.has_value());
}

TEST_CASE("zmq hub: a credential is good for one link only") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(keys), nullptr, child_end);
  run_until(parent.reactor, [&] { return parent.ups.size() == 1; });

  KeepingObserver second_end;
  ZmqParentOptions options = parent.options(keys);
  options.give_up = 1ms;
  const auto second = connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, second_end);
  run_until(parent.reactor, [&] { return second_end.end.has_value(); });
  CHECK(second_end.error == EACCES);
  CHECK(second_end.detail == "the parent refused this host's key at " + parent.hub.endpoints().at(0));
  CHECK(parent.hub.refused() >= 1);

  child->send("still here");
  run_until(parent.reactor, [&] { return !parent.ends[1].packets.empty(); });
  CHECK_FALSE(child_end.end.has_value());
}

TEST_CASE("zmq hub: half handshakes by the thousand do not keep a child out") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  constexpr std::size_t kOthers = 1000;
  std::vector<os::UniqueFd> others;
  for (std::size_t i = 0; i < kOthers; ++i) {
    others.push_back(connect_to(parent.hub.endpoints().at(0)));
    // The first bytes of ZMTP 3.1, other bytes, or none.
    const std::string bytes = i % 3 == 0   ? std::string("\xff\0\0\0\0\0\0\0\1\x7f\3", 11)
                              : i % 3 == 1 ? "GET / HTTP/1.1\r\n\r\n"
                                           : "";
    CHECK(::send(others[i].get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes.size()));
  }
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(keys), nullptr, child_end);
  child->send("through");
  run_until(parent.reactor, [&] { return !parent.ends[1].packets.empty(); });
  // The limit of a handshake's time ends those that are silent.
  run_until(parent.reactor, [&] { return parent.hub.refused() >= kOthers; });
  CHECK_FALSE(child_end.end.has_value());
  CHECK_FALSE(parent.ends[1].end.has_value());
}

TEST_CASE("zmq hub: the end of an earlier connection with the same fd does no harm to a child") {
  Parent parent(kLongHandshake);
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  // libzmq accepts and closes all of them before the hub reads any of the events, so the child is admitted
  // while most events still wait. The other ends have higher fds, so those of libzmq are the same in each
  // round, and the child gets one of them.
  constexpr std::size_t kRounds = 60;
  constexpr std::size_t kOthers = 50;
  const std::size_t before = os::open_fds();
  const auto above = static_cast<int>(before + 3 * kOthers);
  const auto wait_for_fds = [](std::size_t fds) {
    const auto deadline = std::chrono::steady_clock::now() + kTimeout;
    while (os::open_fds() != fds) {
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::yield();
    }
  };
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<os::UniqueFd> others;
    for (std::size_t i = 0; i < kOthers; ++i) {
      const os::UniqueFd other = connect_to(parent.hub.endpoints().at(0));
      others.emplace_back(::fcntl(other.get(), F_DUPFD_CLOEXEC, above));
      REQUIRE(others.back());
    }
    wait_for_fds(before + 2 * kOthers);
    others.clear();
    wait_for_fds(before);
  }
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(keys), nullptr, child_end);
  child->send("through");
  run_until(parent.reactor, [&] { return !parent.ends[1].packets.empty(); });
  run_until(parent.reactor, [&] { return parent.hub.refused() >= kRounds * kOthers; });
  CHECK_FALSE(child_end.end.has_value());
  CHECK_FALSE(parent.ends[1].end.has_value());
}

TEST_CASE("zmq hub: a child tries the addresses of its parent in turn") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  const Listener silent;
  std::string refusing;
  {
    const Listener closed;
    refusing = closed.endpoint;
  }
  ZmqParentOptions options = parent.options(keys);
  options.endpoints = {refusing, silent.endpoint, parent.hub.endpoints().at(0)};
  options.try_for = 100ms;
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, child_end);
  run_until(parent.reactor, [&] { return parent.ups.size() == 1; });
}

TEST_CASE("zmq hub: a child whose parent does not answer names the addresses") {
  Parent parent;
  const Listener silent;
  ZmqParentOptions options = parent.options(os::make_zmq_keys());
  options.endpoints = {silent.endpoint};
  options.try_for = 20ms;
  options.give_up = 10ms;
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, child_end);
  run_until(parent.reactor, [&] { return child_end.end.has_value(); });
  CHECK(child_end.error == ETIMEDOUT);
  CHECK(child_end.detail == "no answer from the parent at " + silent.endpoint);
}

TEST_CASE("zmq hub: both ends notice that the network is cut") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  Network network(parent.hub.endpoints().at(0));
  ZmqParentOptions options = parent.options(keys);
  options.endpoints = {network.endpoint()};
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, std::move(options), nullptr, child_end);
  child->send("before");
  run_until(parent.reactor, [&] { return !parent.ends[1].packets.empty(); });
  LinkEnd expected = LinkEnd::closed;
  std::string detail = "the connection was lost";
  SUBCASE("the connection is reset, as if the peer was killed") { network.close(); }
  SUBCASE("packets are lost") {
    network.lose_packets();
    expected = LinkEnd::silent;
    detail = "no sign for 300 ms";
  }
  run_until(parent.reactor, [&] { return parent.ends[1].end.has_value() && child_end.end.has_value(); });
  CHECK(parent.ends[1].end == expected);
  CHECK(parent.ends[1].detail == detail);
  CHECK(child_end.end == expected);
  CHECK(child_end.detail == detail);
}

TEST_CASE("zmq hub: a peer whose loop hangs is silent, although libzmq's thread runs") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  os::Reactor child_reactor;
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(child_reactor, parent.options(keys), nullptr, child_end);
  child->send("before");
  // Both loops, in turn.
  while (parent.ends[1].packets.empty() || !child->up()) {
    run_once(parent.reactor);
    run_once(child_reactor);
  }
  SUBCASE("the child hangs") {
    run_until(parent.reactor, [&] { return parent.ends[1].end.has_value(); });
    CHECK(parent.ends[1].end == LinkEnd::silent);
    CHECK(parent.ends[1].detail == "no sign for 300 ms");
    // It continues, and learns that it is not expected any more.
    run_until(child_reactor, [&] { return child_end.end.has_value(); });
    CHECK(child_end.end == LinkEnd::closed);
  }
  SUBCASE("the parent hangs") {
    run_until(child_reactor, [&] { return child_end.end.has_value(); });
    CHECK(child_end.end == LinkEnd::silent);
    CHECK(child_end.detail == "no sign for 300 ms");
  }
}

TEST_CASE("zmq hub: idle links stay up, and so does a link that is held") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(keys), nullptr, child_end);
  run_until(parent.reactor, [&] { return child->up(); });
  SUBCASE("idle") {}
  SUBCASE("held, and its peer waits for credit") {
    link->hold(true);
    child->send(std::string(2 * kZmqWindow, 'x'));
  }
  bool passed = false;
  parent.reactor.after(3 * kFast.link.silence, [&] { passed = true; });
  run_until(parent.reactor, [&] { return passed; });
  CHECK_FALSE(parent.ends[1].end.has_value());
  CHECK_FALSE(child_end.end.has_value());
}

TEST_CASE("zmq hub: what a child with a valid key must not send ends its link only") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const os::ZmqKeys other_keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  const auto other_link = parent.expect(2, other_keys.public_key);
  KeepingObserver other_end;
  const auto other = connect_to_zmq_parent(parent.reactor, parent.options(other_keys), nullptr, other_end);
  Hostile hostile(parent, keys);
  LinkEnd expected = LinkEnd::invalid;
  SUBCASE("an unknown kind") { hostile.send("x"); }
  SUBCASE("an empty message") { hostile.send(""); }
  SUBCASE("no greeting") { hostile.send("dGET / HTTP/1.1\n"); }
  SUBCASE("credit for nothing") { hostile.send(std::string("c\1\0\0\0", 5)); }
  SUBCASE("too long a packet") {
    hostile.greet();
    hostile.send("d\xff\xff\xff\xff");
  }
  SUBCASE("another version") {
    hostile.send("d" + wire::encode_greeting({own_greeting().protocol + 1, "99.0.0"}));
    expected = LinkEnd::version;
  }
  SUBCASE("more than it has credit for") {
    link->hold(true);
    hostile.greet();
    for (std::size_t i = 0; i < kZmqWindow / kMinZmqCost; ++i) hostile.send("d");
  }
  run_until(parent.reactor, [&] { return parent.ends[1].end.has_value() && parent.ups.size() >= 1; });
  CHECK(parent.ends[1].end == expected);
  other->send("unharmed");
  run_until(parent.reactor, [&] { return !parent.ends[2].packets.empty(); });
}

TEST_CASE("zmq hub: a child cannot take the routing id of another one") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const os::ZmqKeys other_keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  const auto other_link = parent.expect(2, other_keys.public_key);
  Hostile child(parent, keys, "one");
  child.greet();
  run_until(parent.reactor, [&] { return parent.ups.size() == 1; });
  // libzmq never reads a connection with the routing id of another one.
  auto thief = std::make_unique<Hostile>(parent, other_keys, "one");
  thief->greet();
  thief->send("d" + wire::encode_frame("from the thief"));
  child.send("d" + wire::encode_frame("from the child"));
  run_until(parent.reactor, [&] { return !parent.ends[1].packets.empty(); });
  CHECK(parent.ends[1].packets == std::vector<std::string>{"from the child"});
  thief.reset();
  run_until(parent.reactor, [&] { return parent.hub.refused() > 0; });
  // The key that the thief has used still admits its host.
  KeepingObserver other_end;
  const auto other = connect_to_zmq_parent(parent.reactor, parent.options(other_keys), nullptr, other_end);
  run_until(parent.reactor, [&] { return parent.ups.size() == 2; });
  CHECK(parent.ends[2].packets.empty());
}

TEST_CASE("zmq hub: a held child waits, and loses nothing") {
  Parent parent;
  const os::ZmqKeys keys = os::make_zmq_keys();
  const auto link = parent.expect(1, keys.public_key);
  KeepingObserver child_end;
  const auto child = connect_to_zmq_parent(parent.reactor, parent.options(keys), nullptr, child_end);
  run_until(parent.reactor, [&] { return parent.ups.size() == 1; });
  link->hold(true);
  constexpr std::size_t kPackets = 40;
  constexpr std::size_t kSize = 100'000;
  for (std::size_t i = 0; i < kPackets; ++i) child->send(std::to_string(i) + std::string(kSize, '.'));
  bool waited = false;
  parent.reactor.after(100ms, [&] { waited = true; });
  run_until(parent.reactor, [&] { return waited; });
  CHECK(parent.ends[1].packets.empty());
  CHECK(child->unsent() >= kPackets * kSize - kZmqWindow);
  link->hold(false);
  run_until(parent.reactor, [&] { return parent.ends[1].packets.size() == kPackets; });
  for (std::size_t i = 0; i < kPackets; ++i)
    CHECK(parent.ends[1].packets[i].starts_with(std::to_string(i) + "."));
}

}  // namespace wireup::runtime
