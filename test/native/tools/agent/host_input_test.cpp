// How the launcher's stdin reaches ranks on several hosts.
#include <sys/ioctl.h>

#include "tools/agent/host_streams.h"

namespace {

using namespace wireup;
using namespace wireup::test;

// Fd 0 of this process is the stdin of host 0's agent. Its write end is `in`.
struct Stdin {
  Stdin() : Stdin(os::make_pipe()) {}
  explicit Stdin(os::FdPair pipe) : in(std::move(pipe.second)), replaced(0, std::move(pipe.first)) {}
  os::UniqueFd in;
  Replaced replaced;
};

std::function<std::string()> numbers(std::string& all, std::size_t total) {
  return [&all, total, number = 0]() mutable {
    std::string text;
    while (text.size() < 50'000 && all.size() + text.size() < total) text += std::to_string(number++) + "\n";
    all += text;
    return text;
  };
}

// The read end of the stdin of a new reader.
os::UniqueFd add_reader(Tree::Host& host, std::uint32_t task) {
  os::FdPair pipe = os::make_pipe();
  host.input->add(task, std::move(pipe.second));
  return std::move(pipe.first);
}

msg::Hello reading(std::uint32_t host, std::uint32_t readers, std::vector<std::uint32_t> others = {}) {
  return {.host = host, .stdin_readers = readers, .stdin_hosts = std::move(others)};
}

bool is_at_end(int fd) {
  pollfd entry{fd, 0, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLHUP) != 0;
}

int queued(int fd) {
  int bytes = 0;
  REQUIRE(::ioctl(fd, FIONREAD, &bytes) == 0);
  return bytes;
}

TEST_CASE("20 MB of stdin go to two hosts and host 0 at the pace of the slowest rank") {
  Tree tree;
  constexpr std::size_t kTotal = 20'000'000;
  std::string sent;
  std::string own_text;
  std::string fast;
  std::string slow;
  {
    Stdin in;
    auto& own = tree.add(reading(0, 1, {1, 2}));
    auto& first = tree.add(reading(1, 1));
    auto& second = tree.add(reading(2, 2));
    Writer writer(std::move(in.in), numbers(sent, kTotal));
    const os::UniqueFd own_reader = add_reader(own, 0);
    const os::UniqueFd fast_reader = add_reader(first, 1);
    const os::UniqueFd slow_reader = add_reader(second, 2);
    // It closes its stdin and does not count.
    add_reader(second, 3).reset();
    std::atomic<std::size_t> fast_size = 0;
    std::thread own_thread([&] { own_text = read_all(own_reader.get()); });
    std::thread fast_thread([&] {
      char buffer[65536];
      while (wait_readable(fast_reader.get())) {
        const ssize_t size = ::read(fast_reader.get(), buffer, sizeof(buffer));
        if (size <= 0) break;
        fast.append(buffer, static_cast<std::size_t>(size));
        fast_size = fast.size();
      }
    });
    // The slow rank does not read: its pipe is full, and so is the window of its host.
    const auto full = [&] {
      return queued(slow_reader.get()) >= static_cast<int>(kPipe / 2) &&
             tree.unacknowledged(2, 0) + kPipe > msg::kMaxUnacknowledged && tree.unacknowledged(1, 0) == 0 &&
             fast_size > 0 && queued(fast_reader.get()) == 0;
    };
    tree.run_until(full);
    tree.run_turns(500);
    // The slow rank's pipe, and the window.
    CHECK(fast_size <= kPipe + msg::kMaxUnacknowledged);
    CHECK_FALSE(writer.ended());
    CHECK(writer.written() <= 2 * kPipe + msg::kMaxUnacknowledged);
    tree.run_with([&] {
      slow = read_all(slow_reader.get());
      own_thread.join();
      fast_thread.join();
    });
  }
  CHECK(tree.faults.empty());
  CHECK(tree.most_unacknowledged(1, 0) <= msg::kMaxUnacknowledged);
  CHECK(tree.most_unacknowledged(2, 0) <= msg::kMaxUnacknowledged);
  CHECK(sent.size() > kTotal - 50);
  CHECK(own_text == sent);
  CHECK(fast == sent);
  CHECK(slow == sent);
}

TEST_CASE("stdin is read only when the readers of all hosts have started, or could not be started") {
  Tree tree;
  Stdin in;
  auto& own = tree.add(reading(0, 1, {1, 2}));
  auto& first = tree.add(reading(1, 2));
  auto& second = tree.add(reading(2, 1));
  write_all(in.in.get(), "early\n");
  const os::UniqueFd own_reader = add_reader(own, 0);
  const os::UniqueFd reader = add_reader(first, 1);
  second.input->give_up(5);
  tree.run_turns(50);
  CHECK(queued(0) == 6);
  first.input->give_up(2);
  tree.run_until([&] { return wait_readable(own_reader.get(), 0) && wait_readable(reader.get(), 0); });
  CHECK(read_line(own_reader.get()) == "early");
  CHECK(read_line(reader.get()) == "early");
  in.in.reset();
  tree.run_until([&] { return is_at_end(own_reader.get()) && is_at_end(reader.get()); });
  CHECK(tree.faults.empty());
}

TEST_CASE("a host without readers of its own reads stdin for other hosts") {
  Tree tree;
  Stdin in;
  tree.add(reading(0, 0, {1}));
  auto& first = tree.add(reading(1, 1));
  const os::UniqueFd reader = add_reader(first, 1);
  write_all(in.in.get(), "text");
  in.in.reset();
  std::string got;
  tree.run_with([&] { got = read_all(reader.get()); });
  CHECK(got == "text");
  // A Credit for the last bytes may come after the end.
  tree.run_turns(50);
  CHECK(tree.faults.empty());
}

TEST_CASE("a lost host, and a host whose readers have all gone, no longer count") {
  Tree tree;
  Stdin in;
  auto& own = tree.add(reading(0, 0, {1, 2, 3}));
  auto& first = tree.add(reading(1, 1));
  auto& second = tree.add(reading(2, 1));
  auto& third = tree.add(reading(3, 1));
  const os::UniqueFd reader = add_reader(first, 1);
  os::UniqueFd leaving = add_reader(second, 2);
  std::string sent;
  Writer writer(std::move(in.in), numbers(sent, 2'000'000));
  // The third host has not started. It is lost.
  tree.run_turns(50);
  CHECK(queued(reader.get()) == 0);
  tree.lose(3);
  // The second one stops to read in the middle. Its reader exits.
  tree.run_until([&] { return tree.unacknowledged(2, 0) + kPipe > msg::kMaxUnacknowledged; });
  CHECK_FALSE(writer.ended());
  SUBCASE("by its pipe") { leaving.reset(); }
  SUBCASE("by its exit") { second.input->remove(2); }
  SUBCASE("the host is lost") { tree.lose(2); }
  std::string got;
  tree.run_with([&] { got = read_all(reader.get()); });
  CHECK(writer.ended());
  CHECK(got == sent);
  CHECK(tree.faults.empty());
  (void)own;
  (void)third;
}

TEST_CASE("stdin is not read after the last reader of all hosts has gone") {
  Tree tree;
  Stdin in;
  auto& own = tree.add(reading(0, 1, {1}));
  auto& first = tree.add(reading(1, 1));
  os::UniqueFd own_reader = add_reader(own, 0);
  os::UniqueFd reader = add_reader(first, 1);
  write_all(in.in.get(), "one");
  tree.run_until([&] { return queued(own_reader.get()) == 3 && queued(reader.get()) == 3; });
  own_reader.reset();
  tree.run_turns(20);
  write_all(in.in.get(), "two");
  tree.run_until([&] { return queued(reader.get()) == 6; });
  reader.reset();
  tree.run_turns(50);
  write_all(in.in.get(), "three");
  tree.run_turns(50);
  CHECK(queued(0) == 5);
  CHECK(tree.faults.empty());
}

TEST_CASE("messages of stdin that a host must not send are refused") {
  Tree tree;
  Stdin in;
  auto& own = *tree.add(reading(0, 0, {1})).input;
  auto& first = tree.add(reading(1, 1));
  msg::Input text{"text"};
  // Before the readers have started.
  CHECK(first.input->handle(text) != nullptr);
  const os::UniqueFd reader = add_reader(first, 1);
  msg::Input much{std::string(msg::kMaxUnacknowledged + 1, 'x')};
  CHECK(first.input->handle(much) != nullptr);
  CHECK(own.handle(1, msg::Credit{0, -1, 1}) != nullptr);
  CHECK(own.handle(2, msg::Credit{0, -1, 0}) != nullptr);
  CHECK(own.handle(2, msg::InputReaders{}) != nullptr);
  msg::Input end;
  CHECK(own.handle(text) != nullptr);
  CHECK(first.input->handle(0, msg::InputReaders{}) != nullptr);
  CHECK(first.input->handle(0, msg::Credit{}) != nullptr);
  CHECK(first.input->handle(end) == nullptr);
  CHECK(first.input->handle(text) != nullptr);
}

}  // namespace
