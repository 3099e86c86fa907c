// The tests that every kind of link must pass.
#include "runtime/link.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>

#include "os/message_socket.h"
#include "runtime/link_support.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace {

template <typename Kind>
struct LinkPair {
  LinkPair() : LinkPair(Kind::ends()) {}
  explicit LinkPair(std::pair<typename Kind::End, typename Kind::End> ends)
      : parent(Kind::parent(reactor, std::move(ends.first), parent_end)),
        child(Kind::child(reactor, std::move(ends.second), child_end)) {}

  os::Reactor reactor;
  KeepingObserver parent_end;
  KeepingObserver child_end;
  std::unique_ptr<Link> parent;
  std::unique_ptr<Link> child;
};

}  // namespace

#define LINK_KINDS Local, Pipes, Socket, Curve, Plain

TEST_CASE_TEMPLATE("link: packets of all sizes arrive whole and in order, in both directions", Kind,
                   LINK_KINDS) {
  LinkPair<Kind> pair;
  const std::vector<std::size_t> sizes = {1,
                                          2,
                                          4,
                                          1000,
                                          65'535,
                                          65'536,
                                          os::kMaxMessage - 2,
                                          os::kMaxMessage - 1,
                                          os::kMaxMessage,
                                          2 * os::kMaxMessage - 2,
                                          2 * os::kMaxMessage - 1,
                                          kMaxPacket,
                                          3};
  for (const std::size_t size : sizes) {
    pair.parent->send(text_of(size));
    pair.child->send(text_of(size + 1 > kMaxPacket ? size : size + 1));
  }
  run_until(pair.reactor, [&] {
    return pair.child_end.packets.size() == sizes.size() && pair.parent_end.packets.size() == sizes.size();
  });
  for (std::size_t i = 0; i < sizes.size(); i++) {
    CHECK(bool(pair.child_end.packets[i] == text_of(sizes[i])));
    CHECK(bool(pair.parent_end.packets[i] == text_of(std::min(sizes[i] + 1, kMaxPacket))));
  }
  CHECK(pair.parent->unsent() == 0);
  CHECK(pair.child->unsent() == 0);
  CHECK_FALSE(pair.parent_end.end.has_value());
}

TEST_CASE_TEMPLATE("link: many small packets in one turn", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  constexpr std::size_t kPackets = 20'000;
  for (std::size_t i = 0; i < kPackets; i++) pair.parent->send(std::to_string(i));
  run_until(pair.reactor, [&] { return pair.child_end.packets.size() == kPackets; });
  for (std::size_t i = 0; i < kPackets; i++) {
    if (pair.child_end.packets[i] != std::to_string(i)) FAIL("packet ", i, " is wrong");
  }
}

TEST_CASE_TEMPLATE("link: queues everything for a peer that does not read", Kind, LINK_KINDS) {
  os::Reactor reactor;
  KeepingObserver parent_end;
  KeepingObserver child_end;
  auto [first, second] = Kind::ends();
  const auto parent = Kind::parent(reactor, std::move(first), parent_end);
  constexpr std::size_t kPackets = 64;
  constexpr std::size_t kSize = 500'000;
  for (std::size_t i = 0; i < kPackets; i++) parent->send(std::to_string(i) + std::string(kSize, '.'));
  run_once(reactor);
  CHECK(parent->unsent() > (kPackets - 4) * kSize);
  CHECK(parent->unsent() < (kPackets + 1) * kSize);

  const auto child = Kind::child(reactor, std::move(second), child_end);
  run_until(reactor, [&] { return child_end.packets.size() == kPackets; });
  for (std::size_t i = 0; i < kPackets; i++) {
    CHECK(child_end.packets[i].starts_with(std::to_string(i) + "."));
  }
  CHECK(parent->unsent() == 0);
}

TEST_CASE_TEMPLATE("link: a sender that waits until the peer takes bytes sends everything", Kind,
                   LINK_KINDS) {
  os::Reactor reactor;
  KeepingObserver parent_end;
  KeepingObserver child_end;
  auto [first, second] = Kind::ends();
  const auto parent = Kind::parent(reactor, std::move(first), parent_end);
  constexpr std::size_t kPackets = 200;
  constexpr std::size_t kSize = 50'000;
  constexpr std::size_t kMost = 4 * kSize;
  std::size_t sent = 0;
  std::size_t most = 0;
  parent_end.at_taken = [&] {
    while (sent < kPackets && parent->unsent() <= kMost)
      parent->send(std::to_string(sent++) + std::string(kSize, '.'));
    most = std::max(most, parent->unsent());
  };
  parent_end.at_taken();
  run_once(reactor);
  CHECK(sent < kPackets);

  const auto child = Kind::child(reactor, std::move(second), child_end);
  run_until(reactor, [&] { return child_end.packets.size() == kPackets; });
  for (std::size_t i = 0; i < kPackets; i++) {
    CHECK(child_end.packets[i].starts_with(std::to_string(i) + "."));
  }
  CHECK(most <= kMost + kSize + 1000);
  CHECK(parent->unsent() == 0);
}

TEST_CASE_TEMPLATE("link: a flood for a peer that answers each packet", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  pair.child_end.then = [&] { pair.child->send(std::string(10'000, 'a')); };
  constexpr std::size_t kPackets = 500;
  for (std::size_t i = 0; i < kPackets; i++) pair.parent->send(std::string(100'000, 'q'));
  CHECK(pair.parent->unsent() > 0);
  run_until(pair.reactor, [&] { return pair.parent_end.packets.size() == kPackets; });
  CHECK(pair.parent->unsent() == 0);
}

TEST_CASE_TEMPLATE("link: reports the end after the last packet", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  pair.child_end.then = [&] {
    for (int i = 0; i < 100; i++) pair.child->send(std::to_string(i));
    REQUIRE(pair.child->unsent() == 0);
    pair.child.reset();
  };
  SUBCASE("the peer closes") {}
  SUBCASE("the peer closes with unread packets") { pair.parent->send("not read"); }
  pair.parent->send("go");
  run_until(pair.reactor, [&] { return pair.parent_end.end.has_value(); });
  CHECK(pair.parent_end.packets.size() == 100);
  CHECK(pair.parent_end.end == LinkEnd::closed);
  CHECK(pair.parent_end.error == 0);
  CHECK(pair.parent_end.detail == "the peer closed the connection");
  pair.parent->send("ignored");
  CHECK(pair.parent->unsent() == 0);
}

TEST_CASE_TEMPLATE("link: the peer closes while packets are queued", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  pair.child_end.then = [&] { pair.child.reset(); };
  for (int i = 0; i < 100; i++) pair.parent->send(std::string(50'000, 'x'));
  run_until(pair.reactor, [&] { return pair.parent_end.end.has_value(); });
  CHECK((pair.parent_end.end == LinkEnd::closed || pair.parent_end.error == ECONNRESET));
  CHECK(pair.parent->unsent() == 0);
}

TEST_CASE_TEMPLATE("link: refuses a packet that is empty or too long", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  CHECK(thrown_by([&] { pair.parent->send(""); }) == EMSGSIZE);
  CHECK(thrown_by([&] { pair.parent->send(std::string(kMaxPacket + 1, 'x')); }) == EMSGSIZE);
  pair.parent->send("good");
  run_until(pair.reactor, [&] { return !pair.child_end.packets.empty(); });
  CHECK(pair.child_end.packets == std::vector<std::string>{"good"});
}

TEST_CASE_TEMPLATE("link: can be destroyed in its callbacks", Kind, LINK_KINDS) {
  LinkPair<Kind> pair;
  SUBCASE("on_link_packet") {
    pair.child_end.then = [&] { pair.child.reset(); };
    pair.parent->send("one");
    pair.parent->send(std::string(2 * os::kMaxMessage, 'x'));
    pair.parent->send("three");
  }
  SUBCASE("on_link_packet, with a long packet") {
    pair.child_end.then = [&] { pair.child.reset(); };
    pair.parent->send(std::string(2 * os::kMaxMessage, 'x'));
  }
  SUBCASE("on_link_end") {
    pair.child_end.then = [&] { pair.parent.reset(); };
    pair.child_end.at_end = [&] { pair.child.reset(); };
    pair.parent->send("one");
  }
  run_until(pair.reactor, [&] { return pair.child == nullptr; });
  run_once(pair.reactor);
  CHECK(pair.child_end.packets.size() == 1);
}

TEST_CASE_TEMPLATE("link: leaves no fds behind", Kind, LINK_KINDS) {
  const auto before = fds_of(::getpid());
  {
    LinkPair<Kind> pair;
    pair.parent->send(std::string(kMaxPacket, 'x'));
    run_once(pair.reactor);
  }
  CHECK(fds_of(::getpid()) == before);
}

}  // namespace wireup::runtime
