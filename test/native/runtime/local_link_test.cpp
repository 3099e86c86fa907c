#include "runtime/local_link.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <string>
#include <vector>

#include "os/fd_message.h"
#include "runtime/link_support.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace {

struct RawPeer {
  os::Reactor reactor;
  os::FdPair pair = os::seqpacket_pair();
  KeepingObserver observer;
  LocalLink link{reactor, std::move(pair.first), observer};

  void receive(std::string_view message, const std::vector<os::UniqueFd>& fds = {}) {
    REQUIRE(os::send_message(pair.second.get(), message, fds) == 0);
  }
};

std::vector<os::UniqueFd> copies(int fd, std::size_t count) {
  std::vector<os::UniqueFd> fds;
  for (std::size_t i = 0; i < count; i++) fds.push_back(os::duplicate(fd));
  return fds;
}

constexpr std::string_view kMoreMark = "\x01";
const std::string kLastMark(1, '\0');

}  // namespace

TEST_CASE("local link: carries fds with short and long packets") {
  os::Reactor reactor;
  os::FdPair pair = os::seqpacket_pair();
  KeepingObserver left_end;
  KeepingObserver right_end;
  LocalLink left(reactor, std::move(pair.first), left_end);
  const LocalLink right(reactor, std::move(pair.second), right_end);
  CHECK(left.carries_fds());
  const os::FdPair pipe = os::make_pipe();
  const std::vector<std::string> packets = {"short", std::string(3 * os::kMaxMessage, 'l'), "none"};
  left.send(packets[0], copies(pipe.first.get(), 1));
  left.send(packets[1], copies(pipe.second.get(), os::kMaxFdsPerMessage));
  left.send(packets[2]);
  run_until(reactor, [&] { return right_end.packets.size() == 3; });
  CHECK(bool(right_end.packets == packets));
  REQUIRE(right_end.fds.size() == 1 + os::kMaxFdsPerMessage);
  for (const auto& fd : right_end.fds) CHECK(inode(fd.get()) == inode(pipe.first.get()));
  CHECK(thrown_by([&] { left.send("x", copies(pipe.first.get(), os::kMaxFdsPerMessage + 1)); }) == EMSGSIZE);
}

TEST_CASE("local link: invalid messages end it") {
  RawPeer raw;
  const os::FdPair pipe = os::make_pipe();
  SUBCASE("an unknown mark") { raw.receive("x\x02"); }
  SUBCASE("an empty packet") { raw.receive(kLastMark); }
  SUBCASE("an empty part") { raw.receive(kMoreMark); }
  SUBCASE("an empty last part") {
    raw.receive("x\x01");
    raw.receive(kLastMark);
  }
  SUBCASE("fds before the last part") { raw.receive("x\x01", copies(pipe.first.get(), 1)); }
  SUBCASE("a message that is too long") { raw.receive(std::string(os::kMaxMessage + 1, 'x')); }
  const auto fds = fds_of(::getpid());
  run_until(raw.reactor, [&] { return raw.observer.end.has_value(); });
  CHECK(raw.observer.end == LinkEnd::invalid);
  CHECK(raw.observer.detail == "the peer sent an invalid message");
  CHECK(raw.observer.packets.empty());
  CHECK(fds_of(::getpid()).size() == fds.size() - 1);  // without the link's socket
  raw.link.send("ignored");
  CHECK(raw.link.unsent() == 0);
}

TEST_CASE("local link: a packet that never ends is refused at the limit") {
  RawPeer raw;
  const std::string part = std::string(os::kMaxMessage - 1, 'x') + std::string(kMoreMark);
  std::size_t sent = 0;
  std::function<void()> send_some = [&] {
    while (!raw.observer.end && os::send_message(raw.pair.second.get(), part, {}) == 0) {
      sent += part.size() - 1;
      if (sent > 2 * kMaxPacket) FAIL("the link keeps too much");
      run_once(raw.reactor);
    }
  };
  send_some();
  CHECK(raw.observer.end == LinkEnd::invalid);
  CHECK(sent > kMaxPacket);
  CHECK(sent < kMaxPacket + 4 * os::kMaxMessage);
}

TEST_CASE("local link: a packet whose fds exceed the limit of open files") {
  struct WithoutFds final : LinkObserver {
    void on_link_packet(std::string_view, std::optional<std::vector<os::UniqueFd>> fds) override {
      ++packets;
      without += fds ? 0 : 1;
    }
    void on_link_end(LinkEnd, int, const std::string&) override {}
    int packets = 0;
    int without = 0;
  } observer;
  os::Reactor reactor;
  os::FdPair pair = os::seqpacket_pair();
  const LocalLink link(reactor, std::move(pair.first), observer);
  // UBSan needs an fd when it checks the type of the observer for the first time.
  REQUIRE(os::send_message(pair.second.get(), "first" + kLastMark, {}) == 0);
  run_until(reactor, [&] { return observer.packets == 1; });
  REQUIRE(os::send_message(pair.second.get(), "x" + kLastMark, copies(STDERR_FILENO, 20)) == 0);
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit tight{static_cast<rlim_t>(os::duplicate(STDERR_FILENO).get()), before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  run_until(reactor, [&] { return observer.packets == 2; });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(observer.without == 1);
}

}  // namespace wireup::runtime
