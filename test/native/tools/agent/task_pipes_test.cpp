// The output of tasks on other hosts that goes to pipes of the launcher.
#include <cerrno>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tools/agent/host_output.h"

namespace {

using namespace wireup;
using namespace wireup::test;

TEST_CASE("the output of a task on another host goes to its pipe unchanged, whatever other pipes do") {
  Tree tree;
  auto& own = tree.add(merged(0));
  auto& other = tree.add(merged(1));
  std::vector<os::FdPair> pipes;
  std::vector<os::UniqueFd> ends;
  for (int i = 0; i < 3; ++i) {
    pipes.push_back(os::make_pipe());
    ends.push_back(std::move(pipes.back().second));
  }
  REQUIRE(own.output->handle(msg::TaskPipes{1, 1, {7, 8, 9}}, std::move(ends)) == nullptr);
  std::mt19937 random(1);
  std::string bytes(3'000'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const auto text_of = [&bytes](std::size_t piece) {
    return [&bytes, piece, at = std::size_t{0}]() mutable {
      const std::string text = bytes.substr(at, piece);
      at += text.size();
      return text;
    };
  };
  Writer read(other.output->open_task(7, 1), text_of(30'000));
  Writer unread(other.output->open_task(8, 1), text_of(1'000));
  Writer refused(other.output->open_task(9, 1), text_of(1'000));
  pipes[2].first.reset();
  std::string got;
  tree.run_with([&] { got = read_all(pipes[0].first.get()); });
  CHECK(got == bytes);
  tree.run_until([&] { return refused.ended(); });
  CHECK(refused.error() == EPIPE);
  CHECK(own.lost.empty());
  // The pipe at each end, one read, and the window.
  CHECK_FALSE(unread.ended());
  CHECK(unread.written() <= 4 * kPipe);
  std::string late;
  tree.run_with([&] { late = read_all(pipes[1].first.get()); });
  CHECK(late == bytes);
  CHECK(unread.error() == 0);
  int done = 0;
  other.output->drain([&] { ++done; });
  tree.run_until([&] { return done == 1; });
  CHECK(tree.faults.empty());
}

TEST_CASE("the pipe of a task ends if its host is lost") {
  Tree tree;
  auto& own = tree.add(merged(0));
  auto& other = tree.add(merged(1));
  os::FdPair written = os::make_pipe();
  os::FdPair silent = os::make_pipe();
  std::vector<os::UniqueFd> ends;
  ends.push_back(std::move(written.second));
  ends.push_back(std::move(silent.second));
  REQUIRE(own.output->handle(msg::TaskPipes{1, 2, {7, 8}}, std::move(ends)) == nullptr);
  const os::UniqueFd rank = other.output->open_task(7, 2);
  write_all(rank.get(), "some");
  tree.run_until([&] { return wait_readable(written.first.get(), 0); });
  tree.lose(1);
  CHECK(read_all(written.first.get()) == "some");
  CHECK(read_all(silent.first.get()).empty());
  // Its number may not be used again by a host that is lost.
  CHECK(own.output->handle(1, msg::Output{2, 7, "x"}) != nullptr);
}

}  // namespace
