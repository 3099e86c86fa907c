// Pairs of links of each kind, and an observer that keeps what it receives.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/support.h"
#include "runtime/link.h"
#include "runtime/local_link.h"
#include "runtime/stream_link.h"
#include "runtime/zmq_hub.h"
#include "runtime/zmq_parent.h"

namespace wireup::test {

using runtime::Link;
using runtime::LinkEnd;
using runtime::LinkObserver;

struct KeepingObserver final : LinkObserver {
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> received) override {
    CHECK_FALSE(end.has_value());
    packets.emplace_back(packet);
    REQUIRE(received.has_value());
    for (auto& fd : *received) fds.push_back(std::move(fd));
    if (then) then();
  }
  void on_link_taken() override {
    if (at_taken) at_taken();
  }
  void on_link_end(LinkEnd why, int errno_of_end, const std::string& detail_of_end) override {
    CHECK_FALSE(end.has_value());
    end = why;
    error = errno_of_end;
    detail = detail_of_end;
    if (at_end) at_end();
  }

  std::vector<std::string> packets;
  std::vector<os::UniqueFd> fds;
  std::optional<LinkEnd> end;
  int error = 0;
  std::string detail;
  std::function<void()> then;
  std::function<void()> at_taken;
  std::function<void()> at_end;
};

// A text whose parts differ, so that swapped parts are noticed.
inline std::string text_of(std::size_t size) {
  constexpr std::size_t kPeriod = 9973;  // a prime, so that no buffer is a multiple of it
  std::string text;
  // Some texts have megabytes, and TSan makes each page that is touched several times as expensive.
  text.reserve(std::max(size, kPeriod));
  for (std::size_t i = 0; i < kPeriod; i++) text += static_cast<char>(i * 2'654'435'761U >> 13);
  while (text.size() < size) text.append(text, 0, size - text.size());
  text.resize(size);
  return text;
}

// A kind of link has the type of its raw ends, and makes a link of one. `parent` and `child` are the two
// sides.
struct Local {
  using End = os::UniqueFd;
  static std::pair<End, End> ends() {
    os::FdPair pair = os::seqpacket_pair();
    return {std::move(pair.first), std::move(pair.second)};
  }
  static std::unique_ptr<Link> parent(os::Reactor& reactor, End end, LinkObserver& observer) {
    return std::make_unique<runtime::LocalLink>(reactor, std::move(end), observer);
  }
  static constexpr auto child = parent;
};

struct StreamEnd {
  os::UniqueFd in;
  os::UniqueFd out;
};

template <typename Ends>
struct OverStream {
  using End = StreamEnd;
  static std::pair<End, End> ends() {
    std::signal(SIGPIPE, SIG_IGN);
    return Ends::make();
  }
  static std::unique_ptr<Link> make(os::Reactor& reactor, End end, LinkObserver& observer,
                                    runtime::StreamLinkOptions::Side side) {
    runtime::StreamLinkOptions options;
    options.side = side;
    return std::make_unique<runtime::StreamLink>(reactor, std::move(end.in), std::move(end.out),
                                                 std::move(options), observer);
  }
  static std::unique_ptr<Link> parent(os::Reactor& reactor, End end, LinkObserver& observer) {
    return make(reactor, std::move(end), observer, runtime::StreamLinkOptions::Side::parent);
  }
  static std::unique_ptr<Link> child(os::Reactor& reactor, End end, LinkObserver& observer) {
    return make(reactor, std::move(end), observer, runtime::StreamLinkOptions::Side::child);
  }
};

struct PipeEnds {
  static std::pair<StreamEnd, StreamEnd> make() {
    os::FdPair down = os::make_pipe();
    os::FdPair up = os::make_pipe();
    return {StreamEnd{std::move(up.first), std::move(down.second)},
            StreamEnd{std::move(down.first), std::move(up.second)}};
  }
};

struct SocketEnds {
  static std::pair<StreamEnd, StreamEnd> make() {
    os::FdPair pair = os::stream_pair();
    os::UniqueFd first = os::duplicate(pair.first.get());
    os::UniqueFd second = os::duplicate(pair.second.get());
    return {StreamEnd{std::move(first), std::move(pair.first)},
            StreamEnd{std::move(second), std::move(pair.second)}};
  }
};

// A child's link to a hub on loopback. The parent's link owns its hub, and must be made first.
struct ZmqHubOwner final : Link {
  void send(std::string packet, std::vector<os::UniqueFd> fds) override {
    link->send(std::move(packet), std::move(fds));
  }
  bool carries_fds() const override { return link->carries_fds(); }
  std::size_t unsent() const override { return link->unsent(); }

  std::unique_ptr<runtime::ZmqHub> hub;
  std::unique_ptr<runtime::ZmqLink> link;
};

struct ZmqEnd {
  os::ZmqKeys parent;
  os::ZmqKeys child;
  std::vector<std::string> endpoints = {};
};

template <bool secure>
struct OverZmq {
  using End = std::shared_ptr<ZmqEnd>;
  static std::pair<End, End> ends() {
    auto end = std::make_shared<ZmqEnd>();
    if (secure) *end = {os::make_zmq_keys(), os::make_zmq_keys()};
    return {end, end};
  }
  static std::unique_ptr<Link> parent(os::Reactor& reactor, const End& end, LinkObserver& observer) {
    auto owner = std::make_unique<ZmqHubOwner>();
    owner->hub =
        std::make_unique<runtime::ZmqHub>(reactor, runtime::ZmqHubOptions{{"127.0.0.1"}, end->parent});
    owner->link = owner->hub->expect(7, secure ? end->child.public_key : "password", nullptr, observer);
    end->endpoints = owner->hub->endpoints();
    return owner;
  }
  static std::unique_ptr<Link> child(os::Reactor& reactor, const End& end, LinkObserver& observer) {
    runtime::ZmqParentOptions options{end->endpoints, end->parent.public_key, end->child};
    if (!secure) options.password = "password";
    return runtime::connect_to_zmq_parent(reactor, std::move(options), nullptr, observer);
  }
};

using Curve = OverZmq<true>;
using Plain = OverZmq<false>;
using Pipes = OverStream<PipeEnds>;
using Socket = OverStream<SocketEnds>;

}  // namespace wireup::test
