// Messages about output that a host must not send.
#include <cerrno>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tools/agent/host_output.h"

namespace {

using namespace wireup;
using namespace wireup::test;
using msg::OpenLine;
using msg::OutputMode;

TEST_CASE("messages that a host must not send are refused") {
  Tree tree;
  Stdout out;
  auto& host0 = tree.add(merged(0));
  auto& own = *host0.output;
  auto& other = *tree.add(merged(1)).output;
  CHECK(own.handle(1, msg::Output{3, -1, "x\n"}) != nullptr);
  CHECK(own.handle(1, msg::Output{0, -1, "x\n"}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, 5, "x\n"}) != nullptr);
  // An empty message, except to end a line.
  CHECK(own.handle(1, msg::Output{1, -1, ""}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "in a line"}) == nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::cut}) != nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) == nullptr);
  CHECK(own.handle(1, msg::Output{1, -1, "", OpenLine::ended}) != nullptr);
  // More than the window, in bytes, in labels and in messages.
  CHECK(own.handle(2, msg::Output{1, -1, std::string(msg::kMaxUnacknowledged, 'x')}) != nullptr);
  CHECK(own.handle(2, msg::Output{1, -1, "x", OpenLine::continues,
                                  std::string(msg::kMaxUnacknowledged, 'x')}) != nullptr);
  int taken = 0;
  while (taken < 100'000 && own.handle(2, msg::Output{1, -1, "x\n"}) == nullptr) ++taken;
  CHECK(taken < 4'000);
  // To the wrong host.
  CHECK(other.handle(0, msg::Output{1, -1, "x\n"}) != nullptr);
  CHECK(other.handle(msg::TaskPipes{1, 1, {3}}, std::nullopt) != nullptr);
  CHECK(own.handle(msg::Credit{1, -1, 1}) != nullptr);
  // Credit for nothing.
  CHECK(other.handle(msg::Credit{1, -1, 1}) != nullptr);
  CHECK(other.handle(msg::Credit{1, 3, 0}) != nullptr);
  CHECK(other.handle(msg::CloseOutput{1, 3, EPIPE}) != nullptr);
  CHECK(other.handle(msg::CloseOutput{1, -1, 0}) != nullptr);
  // Pipes.
  CHECK(own.handle(msg::TaskPipes{0, 1, {3}}, std::nullopt) != nullptr);
  CHECK(own.handle(msg::TaskPipes{1, 3, {3}}, std::nullopt) != nullptr);
  std::vector<os::UniqueFd> one;
  one.push_back(os::make_pipe().second);
  CHECK(own.handle(msg::TaskPipes{1, 1, {3, 4}}, std::move(one)) != nullptr);
  // The fds were lost: the task gets SIGPIPE.
  CHECK(own.handle(msg::TaskPipes{1, 1, {3, 4}}, std::nullopt) == nullptr);
  CHECK(host0.lost == std::vector<std::pair<int, std::string>>{{EMFILE, "the pipes of ranks"}});
  CHECK(own.handle(msg::TaskPipes{1, 1, {3}}, std::nullopt) != nullptr);
}

TEST_CASE("whatever hosts send in whatever order does no harm") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t limit) { return static_cast<std::size_t>(random() % limit); };
    Tree tree;
    Stdout out;
    const Replaced err(2, os::UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC)));
    os::set_nonblocking(out.out.get(), true);
    auto& own = tree.add(merged(0, seed % 2 == 0 ? "[%r] " : ""));
    const os::UniqueFd rank = own.open(0);
    std::size_t most = 30'000;  // labels, cuts, and the lines of the own rank
    std::size_t got = 0;
    auto& output = *own.output;
    for (int step = 0; step < 300; ++step) {
      const auto host = static_cast<std::uint32_t>(1 + below(3));
      msg::Output message;
      message.stream = static_cast<std::uint32_t>(1 + (below(50) == 0 ? below(3) : 0));
      message.bytes = std::string(below(4) == 0 ? below(70'000) : below(20), 'x');
      if (below(2) == 0) message.bytes += "\n";
      message.open_line = static_cast<OpenLine>(below(4) == 0 ? below(3) : 0);
      message.label = std::string(below(10), 'l');
      const std::size_t size = message.bytes.size();
      if (output.handle(host, std::move(message)) == nullptr) {
        most += size;
      } else if (below(5) == 0) {
        output.lose_host(host);
      }
      if (below(10) == 0) write_all(rank.get(), "own\n");
      tree.run_turns(2);
      char buffer[30'000];
      for (ssize_t read; below(3) != 0 && (read = ::read(out.out.get(), buffer, sizeof(buffer))) > 0;)
        got += static_cast<std::size_t>(read);
    }
    CHECK(got <= most);
    CHECK(got > 0);
  }
}

TEST_CASE("a host whose plan is to write files sends no output to host 0") {
  Tree tree;
  msg::Hello files = merged(0);
  files.out = {OutputMode::file, "/tmp/none"};
  auto& own = *tree.add(files).output;
  CHECK(own.handle(1, msg::Output{1, -1, "x\n"}) != nullptr);
}

}  // namespace
