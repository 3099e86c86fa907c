#include "runtime/stream_link.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "runtime/blocking.h"
#include "runtime/faults.h"
#include "runtime/link_support.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace {

using Side = StreamLinkOptions::Side;

// No test reaches its time limits unless it sets them.
constexpr LinkTiming kPatient{std::chrono::hours(1), std::chrono::hours(1)};

const std::string kGreeting = wire::encode_greeting({wire::agent::kProtocolVersion, "0.1.0"});

// A link, and the raw other end of its stream.
template <typename Kind>
struct RawStream {
  explicit RawStream(Side side, LinkTiming timing = kPatient) {
    StreamLinkOptions options;
    options.side = side;
    options.timing = timing;
    make(std::move(options));
  }
  explicit RawStream(StreamLinkOptions options) { make(std::move(options)); }

  void make(StreamLinkOptions options) {
    auto [own, other] = Kind::ends();
    raw = std::move(other);
    os::set_nonblocking(raw.in.get(), true);
    options.on_up = [this] {
      CHECK(observer.packets.empty());
      ++ups;
    };
    link = std::make_unique<StreamLink>(reactor, std::move(own.in), std::move(own.out), std::move(options),
                                        observer);
  }

  void write(std::string_view bytes) { wireup::test::write_all(raw.out.get(), bytes); }

  // What the raw end has received so far.
  const std::string& received() {
    char buffer[4096];
    for (ssize_t size = 0; raw.in && (size = ::read(raw.in.get(), buffer, sizeof(buffer))) > 0;) {
      bytes.append(buffer, static_cast<std::size_t>(size));
    }
    return bytes;
  }

  void run_to_end() {
    run_until(reactor, [&] { return observer.end.has_value(); });
  }
  void run_to(std::size_t packets) {
    run_until(reactor, [&] { return observer.packets.size() == packets; });
  }

  os::Reactor reactor;
  KeepingObserver observer;
  StreamEnd raw;
  std::unique_ptr<StreamLink> link;
  std::string bytes;
  int ups = 0;
};

}  // namespace

TEST_CASE_TEMPLATE("stream link: the parent skips noise, then replies, then packets follow", Kind, Pipes,
                   Socket) {
  RawStream<Kind> stream(Side::parent);
  stream.link->send("early");
  stream.write("Welcome to n3\nYou have mail");
  run_once(stream.reactor);
  run_once(stream.reactor);
  CHECK(stream.received().empty());
  CHECK(stream.ups == 0);
  CHECK_FALSE(stream.link->up());
  CHECK(stream.link->unsent() == 9);
  stream.write("\n" + kGreeting + wire::encode_frame("packet") + std::string(wire::kHeartbeat));
  stream.run_to(1);
  CHECK(stream.observer.packets[0] == "packet");
  CHECK(stream.ups == 1);
  CHECK(stream.link->up());
  CHECK(stream.link->noise() == "Welcome to n3\nYou have mail\n");
  stream.link->send("late");
  CHECK(stream.received().starts_with("wireup-agent "));
  const std::size_t line = stream.received().find('\n') + 1;
  CHECK(stream.received().substr(line) == wire::encode_frame("early") + wire::encode_frame("late"));
  CHECK(stream.link->unsent() == 0);
}

TEST_CASE_TEMPLATE("stream link: the child sends its greeting first, and waits for the reply", Kind, Pipes,
                   Socket) {
  RawStream<Kind> stream(Side::child);
  stream.link->send("early");
  run_once(stream.reactor);
  const std::string greeting = stream.received();
  CHECK(greeting.starts_with("\nwireup-agent " + std::to_string(wire::agent::kProtocolVersion) + " "));
  CHECK(greeting.ends_with("\n"));
  CHECK(stream.ups == 0);
  stream.write(kGreeting + wire::encode_frame("packet"));
  stream.run_to(1);
  CHECK(stream.ups == 1);
  CHECK(stream.received() == greeting + wire::encode_frame("early"));
}

TEST_CASE_TEMPLATE("stream link: another version at the other end", Kind, Pipes, Socket) {
  const auto side = [] {
    Side chosen = Side::parent;
    SUBCASE("of the parent") { chosen = Side::child; }
    SUBCASE("of the child") { chosen = Side::parent; }
    return chosen;
  }();
  RawStream<Kind> stream(side);
  stream.link->send("early");
  // What follows may be no frame in that version.
  stream.write("wireup-agent 1000 7.0.0 new\n\xff\xff\xff\xff");
  stream.run_to_end();
  CHECK(stream.observer.end == LinkEnd::version);
  CHECK(stream.observer.error == 0);
  CHECK(stream.observer.detail == "another version of wireup: " WIREUP_VERSION " here (protocol " +
                                      std::to_string(wire::agent::kProtocolVersion) +
                                      "), 7.0.0 there (protocol 1000)");
  CHECK(stream.ups == 0);
  // The other side learns the version too.
  CHECK(stream.received().find("wireup-agent " + std::to_string(wire::agent::kProtocolVersion)) !=
        std::string::npos);
  CHECK(stream.received().ends_with(WIREUP_VERSION "\n"));
}

TEST_CASE_TEMPLATE("stream link: bytes that are not those of a link end it", Kind, Pipes, Socket) {
  SUBCASE("before the greeting of the child, in many lines") {
    RawStream<Kind> stream(Side::parent);
    std::string noise;
    while (noise.size() <= kMaxNoise) noise += "no \x1b[1m agent\r\n\n";
    os::set_nonblocking(stream.raw.out.get(), true);
    run_until(stream.reactor, [&] {
      const ssize_t size = ::write(stream.raw.out.get(), noise.data(), noise.size());
      if (size > 0) noise.erase(0, static_cast<std::size_t>(size));
      return stream.observer.end.has_value();
    });
    CHECK(stream.observer.end == LinkEnd::invalid);
    CHECK(stream.observer.detail.starts_with("its output is not wireup-agent's: ..."));
    CHECK(stream.observer.detail.find("; no \\x1b[1m agent; no \\x1b[1m agent; ") != std::string::npos);
    CHECK(stream.observer.detail.size() < 600);
  }
  SUBCASE("before the greeting of the parent") {
    RawStream<Kind> stream(Side::child);
    stream.write("GET / HTTP/1.1\n");
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::invalid);
    CHECK(stream.observer.detail == "no agent has answered: GET / HTTP/1.1");
  }
  SUBCASE("after the greeting") {
    const Side side = [] {
      Side chosen = Side::parent;
      SUBCASE("of the parent") { chosen = Side::child; }
      SUBCASE("of the child") { chosen = Side::parent; }
      return chosen;
    }();
    RawStream<Kind> stream(side);
    stream.write(kGreeting + wire::encode_frame("good") + "not a length");
    stream.run_to_end();
    CHECK(stream.observer.packets == std::vector<std::string>{"good"});
    CHECK(stream.observer.end == LinkEnd::invalid);
    CHECK(stream.observer.detail == "the peer sent an invalid packet");
    stream.link->send("ignored");
    CHECK(stream.link->unsent() == 0);
  }
}

TEST_CASE_TEMPLATE("stream link: the peer closes one direction, or both", Kind, Pipes, Socket) {
  enum class Closes : std::uint8_t { writing, reading, both };
  constexpr bool kSocket = std::is_same_v<Kind, Socket>;
  for (const bool greets : {false, true}) {
    for (const Closes closes : {Closes::writing, Closes::reading, Closes::both}) {
      // The link notices by its next heartbeat that a socket's peer does not read any more.
      if (!greets && closes == Closes::reading && kSocket) continue;
      CAPTURE(greets);
      CAPTURE(static_cast<int>(closes));
      RawStream<Kind> stream(Side::parent, {std::chrono::milliseconds(5), std::chrono::hours(1)});
      stream.write(greets ? kGreeting + wire::encode_frame("last") + wire::encode_frame("cut").substr(0, 6)
                          : "only noise");
      if (closes == Closes::both) {
        stream.raw = {};
      } else if (kSocket) {
        REQUIRE(::shutdown(stream.raw.in.get(), closes == Closes::writing ? SHUT_WR : SHUT_RD) == 0);
      } else {
        (closes == Closes::writing ? stream.raw.out : stream.raw.in).reset();
      }
      stream.run_to_end();
      CHECK(stream.observer.end == LinkEnd::closed);
      CHECK(stream.observer.detail == "the peer closed the connection");
      CHECK(stream.observer.packets ==
            (greets ? std::vector<std::string>{"last"} : std::vector<std::string>{}));
      CHECK(stream.link->unsent() == 0);
    }
  }
}

TEST_CASE_TEMPLATE("stream link: heartbeats keep a link alive that sends nothing else", Kind, Pipes, Socket) {
  const auto silence = std::chrono::milliseconds(300);
  RawStream<Kind> stream(Side::parent, {std::chrono::milliseconds(5), silence});
  stream.write(kGreeting);
  const auto start = os::Reactor::Clock::now();
  run_until(stream.reactor, [&] {
    stream.write(wire::kHeartbeat);
    return os::Reactor::Clock::now() > start + 2 * silence;
  });
  CHECK_FALSE(stream.observer.end.has_value());
  const std::size_t line = stream.received().find('\n') + 1;
  const std::string heartbeats = stream.received().substr(line);
  CHECK(heartbeats.size() >= 2 * wire::kHeartbeat.size());
  CHECK(heartbeats == std::string(heartbeats.size(), '\0'));
  CHECK(heartbeats.size() % wire::kHeartbeat.size() == 0);
}

TEST_CASE_TEMPLATE("stream link: ends if nothing comes from the peer", Kind, Pipes, Socket) {
  const LinkTiming timing{std::chrono::milliseconds(10), std::chrono::milliseconds(60)};
  SUBCASE("after the greetings") {
    RawStream<Kind> stream(Side::parent, timing);
    stream.write(kGreeting + wire::encode_frame("packet"));
    stream.run_to_end();
    CHECK(stream.observer.packets.size() == 1);
    CHECK(stream.observer.end == LinkEnd::silent);
    CHECK(stream.observer.detail == "no sign for 60 ms");
  }
  SUBCASE("in the middle of a packet") {
    RawStream<Kind> stream(Side::child, timing);
    stream.write(kGreeting + wire::encode_frame("packet").substr(0, 5));
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::silent);
  }
  SUBCASE("before the parent's reply") {
    RawStream<Kind> stream(Side::child, timing);
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::silent);
    CHECK(stream.ups == 0);
  }
  SUBCASE("while the peer does not read") {
    RawStream<Kind> stream(Side::child, timing);
    stream.write(kGreeting);
    stream.link->send(std::string(1 << 20, 'x'));
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::silent);
  }
}

TEST_CASE_TEMPLATE("stream link: a held link reads nothing, and silence does not end it", Kind, Pipes,
                   Socket) {
  const LinkTiming timing{std::chrono::milliseconds(1), std::chrono::milliseconds(5)};
  RawStream<Kind> stream(Side::parent, timing);
  stream.write(kGreeting);
  run_until(stream.reactor, [&] { return stream.link->up(); });
  stream.link->hold(true);
  stream.write(wire::encode_frame("packet"));
  bool passed = false;
  stream.reactor.after(20 * timing.silence, [&] { passed = true; });
  run_until(stream.reactor, [&] { return passed; });
  CHECK(stream.observer.packets.empty());
  CHECK_FALSE(stream.observer.end.has_value());
  SUBCASE("it reads on, and silence counts again") { stream.link->hold(false); }
  SUBCASE("the end of the peer ends it, after the last packet") {
    stream.raw.in.reset();
    stream.raw.out.reset();
    stream.link->send("packet for a peer that has gone");
    stream.link->hold(false);
  }
  stream.run_to_end();
  CHECK(stream.observer.packets == std::vector<std::string>{"packet"});
}

TEST_CASE("stream link: the parent waits for the greeting without a time limit") {
  const LinkTiming timing{std::chrono::milliseconds(1), std::chrono::milliseconds(5)};
  RawStream<Pipes> stream(Side::parent, timing);
  bool passed = false;
  stream.reactor.after(20 * timing.silence, [&] { passed = true; });
  run_until(stream.reactor, [&] { return passed; });
  CHECK_FALSE(stream.observer.end.has_value());
  CHECK(stream.received().empty());
}

TEST_CASE("stream link: the time in which this process did not run does not count as the peer's silence") {
  const LinkTiming timing{std::chrono::milliseconds(50), std::chrono::milliseconds(500)};
  int stopped_ms = 0;
  SUBCASE("for little longer than a peer may be silent") { stopped_ms = 525; }
  SUBCASE("for much longer") { stopped_ms = 1500; }
  RawStream<Pipes> stream(Side::parent, timing);
  stream.write(kGreeting);
  run_until(stream.reactor, [&] { return stream.link->up(); });
  stream.reactor.post([stopped_ms] { ::poll(nullptr, 0, stopped_ms); });
  run_once(stream.reactor);
  run_once(stream.reactor);
  CHECK_FALSE(stream.observer.end.has_value());
  stream.run_to_end();
  CHECK(stream.observer.end == LinkEnd::silent);
}

TEST_CASE("stream link: two links with short intervals stay connected while they are busy and idle") {
  os::Reactor reactor;
  auto [first, second] = Pipes::ends();
  KeepingObserver parent_end;
  KeepingObserver child_end;
  StreamLinkOptions options;
  options.timing = {std::chrono::milliseconds(2), std::chrono::milliseconds(500)};
  StreamLink parent(reactor, std::move(first.in), std::move(first.out), std::move(options), parent_end);
  options = {};
  options.side = Side::child;
  options.timing = {std::chrono::milliseconds(2), std::chrono::milliseconds(500)};
  const StreamLink child(reactor, std::move(second.in), std::move(second.out), std::move(options), child_end);
  const auto start = os::Reactor::Clock::now();
  std::size_t sent = 0;
  run_until(reactor, [&] {
    if (sent < 50) {
      parent.send(std::string(10'000, 'x'));
      ++sent;
    }
    return os::Reactor::Clock::now() > start + std::chrono::milliseconds(700) && sent == 50 &&
           child_end.packets.size() == sent;
  });
  CHECK_FALSE(parent_end.end.has_value());
  CHECK_FALSE(child_end.end.has_value());
}

TEST_CASE_TEMPLATE("stream link: a file is sent before all else", Kind, Pipes, Socket) {
  const TemporaryFolder folder;
  const std::string content = text_of(500'000);
  write_file(folder / "file", content, 0600);
  StreamLinkOptions options;
  options.timing = kPatient;
  options.file = os::UniqueFd(::open((folder / "file").c_str(), O_RDONLY | O_CLOEXEC));
  options.file_size = content.size() - 10;
  SUBCASE("whole") {
    RawStream<Kind> stream(std::move(options));
    stream.link->send("packet");
    const std::size_t frame = wire::encode_frame("packet").size();
    CHECK(stream.link->unsent() > frame);
    run_until(stream.reactor, [&] { return stream.received().size() == content.size() - 10; });
    CHECK(stream.link->unsent() == frame);
    CHECK(bool(stream.received() == content.substr(0, content.size() - 10)));
    stream.bytes.clear();
    stream.write("noise of a slow start\n" + kGreeting);
    run_until(stream.reactor, [&] { return stream.received().ends_with(wire::encode_frame("packet")); });
    CHECK(stream.bytes.starts_with("wireup-agent "));
    CHECK(stream.link->unsent() == 0);
  }
  SUBCASE("if the child answers too early, it is invalid") {
    RawStream<Kind> stream(std::move(options));
    stream.write(kGreeting);
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::invalid);
    CHECK(stream.observer.detail == "it answered before it had read the program that was sent to it");
  }
  SUBCASE("if the file has become shorter, the link ends") {
    options.file_size = content.size() + 1;
    RawStream<Kind> stream(std::move(options));
    run_until(stream.reactor, [&] {
      stream.received();
      return stream.observer.end.has_value();
    });
    CHECK(stream.observer.end == LinkEnd::failed);
    CHECK(stream.observer.error == EIO);
    CHECK(stream.observer.detail == "the program that is sent cannot be read: Input/output error");
    CHECK(stream.link->unsent() == 0);
  }
  SUBCASE("if the child closes before it has read all, the link ends") {
    RawStream<Kind> stream(std::move(options));
    stream.raw.in.reset();
    stream.raw.out.reset();
    stream.run_to_end();
    CHECK(stream.observer.end == LinkEnd::closed);
  }
}

TEST_CASE_TEMPLATE("stream link: can be destroyed when it comes up, and at each kind of end", Kind, Pipes,
                   Socket) {
  StreamLinkOptions options;
  options.timing = {std::chrono::milliseconds(5), std::chrono::milliseconds(20)};
  RawStream<Kind> stream(std::move(options));
  stream.observer.at_end = [&] { stream.link.reset(); };
  SUBCASE("up") {
    auto [own, other] = Kind::ends();
    StreamLinkOptions other_options;
    other_options.on_up = [&] { stream.link.reset(); };
    stream.raw = std::move(other);
    stream.link = std::make_unique<StreamLink>(stream.reactor, std::move(own.in), std::move(own.out),
                                               std::move(other_options), stream.observer);
    stream.write(kGreeting + wire::encode_frame("packet"));
  }
  SUBCASE("silent") { stream.write(kGreeting); }
  SUBCASE("invalid") { stream.write(kGreeting + "not a length"); }
  SUBCASE("version") { stream.write("wireup-agent 1000\n"); }
  SUBCASE("closed") { stream.raw = {}; }
  SUBCASE("closed, while it writes") {
    stream.write(kGreeting);
    stream.observer.then = [&] {
      stream.raw = {};
      for (int i = 0; i < 100; i++) stream.link->send(std::string(10'000, 'x'));
    };
    stream.write(wire::encode_frame("packet"));
  }
  run_until(stream.reactor, [&] { return stream.link == nullptr; });
  run_once(stream.reactor);
}

TEST_CASE("stream link: carries no fds") {
  RawStream<Pipes> stream(Side::parent);
  CHECK_FALSE(stream.link->carries_fds());
  const auto send_with_fd = [&] {
    std::vector<os::UniqueFd> fds;
    fds.push_back(os::duplicate(STDERR_FILENO));
    stream.link->send("x", std::move(fds));
  };
  CHECK(thrown_by(send_with_fd) == EOPNOTSUPP);
}

TEST_CASE("stream link: refuses a regular file and /dev/null") {
  os::Reactor reactor;
  KeepingObserver observer;
  const auto ends = Pipes::ends();
  const Pipes::End& own = ends.first;
  const auto fds = fds_of(::getpid());
  CHECK(thrown_by([&] {
          StreamLink(reactor, os::UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
                     os::duplicate(own.out.get()), {}, observer);
        }) == EPERM);
  CHECK(thrown_by([&] {
          StreamLink(reactor, os::duplicate(own.in.get()),
                     os::UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC)), {}, observer);
        }) == EPERM);
  CHECK(fds_of(::getpid()) == fds);
  run_once(reactor);
}

TEST_CASE("stream link: no fault leaves an fd behind, or a handler at the reactor") {
  for (const auto kind : {wireup::test::FaultKind::allocation, wireup::test::FaultKind::system_call}) {
    const auto faults = wireup::test::for_each_fault([&](std::uint64_t nth) {
      os::Reactor reactor;
      KeepingObserver observer;
      auto [own, other] = Socket::ends();
      const auto before = fds_of(::getpid()).size();
      bool hit = false;
      {
        const wireup::test::Fault fault({kind, wireup::test::FaultThread::own}, nth);
        try {
          StreamLinkOptions options;
          options.side = Side::child;
          const StreamLink link(reactor, std::move(own.in), std::move(own.out), std::move(options), observer);
        } catch (const std::exception&) {
        }
        hit = fault.hit();
      }
      CHECK(fds_of(::getpid()).size() == before - 2);
      run_once(reactor);
      return hit;
    });
    CHECK(faults >= 2);
  }
}

}  // namespace wireup::runtime
