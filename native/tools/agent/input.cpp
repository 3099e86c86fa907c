#include "tools/agent/input.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "os/error.h"

namespace wireup::agent {
namespace {

// A pipe's default capacity.
constexpr std::size_t kChunk = 64 << 10;
static_assert(kChunk <= wire::agent::kMaxPart);
// Shorter than the time in which a user types after `fg`, and long enough to cost nearly nothing.
constexpr std::chrono::milliseconds kForegroundCheck{300};

constexpr const char* kNotHere = "is not for this host";

bool in_background(int fd) {
  const pid_t foreground = ::tcgetpgrp(fd);
  return foreground >= 0 && foreground != ::getpgrp();
}

}  // namespace

Input::Pipe::Pipe(Input& owner, std::uint32_t number, os::UniqueFd write_end)
    : input(owner), task(number), fd(std::move(write_end)) {
  os::set_nonblocking(fd.get(), true);
  // epoll reports the end of the reader with any mask.
  input.reactor_.add(fd.get(), 0, *this);
}

Input::Pipe::~Pipe() { input.reactor_.remove(fd.get(), *this); }

bool Input::Pipe::write_rest() {
  while (!rest.empty()) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      return true;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

bool Input::Pipe::ready() {
  pollfd entry{fd.get(), POLLOUT, 0};
  const bool room = rest.empty() && ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0;
  const std::uint32_t wanted = room ? 0U : std::uint32_t{EPOLLOUT};
  if (wanted != watched) input.reactor_.modify(fd.get(), watched = wanted, *this);
  return room;
}

void Input::add(std::uint32_t task, os::UniqueFd pipe) {
  pipes_.insert_or_assign(task, std::make_unique<Pipe>(*this, task, std::move(pipe)));
  expected_one();
}

void Input::give_up(std::uint32_t task) {
  if (pipes_.erase(task) > 0) return go_on();
  expected_one();
}

void Input::expected_one() {
  if (expected_ == 0 || --expected_ > 0) return;
  go_on();
}

void Input::remove(std::uint32_t task) {
  if (pipes_.erase(task) > 0) go_on();
}

void Input::on_pipe_ready(Pipe& pipe, std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 || !pipe.write_rest()) pipes_.erase(pipe.task);
  go_on();
}

void Input::go_on() {
  if (expected_ > 0 || stopped_) return;
  if (pipes_.empty() && !has_other_readers()) return stop();
  bool ready = true;
  for (const auto& [task, pipe] : pipes_) ready = pipe->ready() && ready;
  on_readers(ready);
}

void Input::write_to_ranks(std::string_view bytes) {
  std::erase_if(pipes_, [&](const auto& entry) {
    entry.second->rest = bytes;
    return !entry.second->write_rest();
  });
}

void Input::stop() {
  if (std::exchange(stopped_, true)) return;
  pipes_.clear();
  on_stop();
}

StdinInput::StdinInput(os::Reactor& reactor, std::uint32_t readers, const std::vector<std::uint32_t>& others,
                       HostMessages& hosts)
    : Input(reactor, readers), hosts_(hosts), in_(STDIN_FILENO, Stdio::Direction::in), buffer_(kChunk) {
  for (const std::uint32_t host : others) others_.try_emplace(host);
}

StdinInput::~StdinInput() {
  reactor_.cancel(retry_);
  watch_source(false);
}

const char* StdinInput::handle(std::uint32_t host, const wire::agent::InputReaders& readers) {
  const auto entry = others_.find(host);
  if (entry == others_.end()) return stopped() ? nullptr : "is of a host without readers of stdin";
  entry->second.started = true;
  if (!readers.left) others_.erase(entry);
  go_on();
  return nullptr;
}

const char* StdinInput::handle(std::uint32_t host, const wire::agent::Credit& credit) {
  const auto entry = others_.find(host);
  if (entry == others_.end()) return stopped() ? nullptr : "is of a host without readers of stdin";
  if (credit.bytes > entry->second.unacknowledged) return "acknowledges more than was sent";
  entry->second.unacknowledged -= credit.bytes;
  go_on();
  return nullptr;
}

const char* StdinInput::handle(const wire::agent::Input&) { return kNotHere; }

void StdinInput::lose_host(std::uint32_t host) {
  if (others_.erase(host) > 0) go_on();
}

void StdinInput::on_readers(bool ready) {
  for (const auto& [number, host] : others_) {
    ready = ready && host.started && host.unacknowledged + kChunk <= wire::agent::kMaxUnacknowledged;
  }
  watch_source(ready);
  // By a timer, so that the loop serves other fds first.
  if (ready && always_ready_ && retry_ == 0) {
    retry_ = reactor_.after(os::Reactor::Clock::duration::zero(), [this] {
      retry_ = 0;
      copy_some();
    });
  }
}

void StdinInput::copy_some() {
  ssize_t size = 0;
  do {
    size = in_.read(buffer_.data(), buffer_.size());
  } while (size < 0 && errno == EINTR);
  if (size < 0 && errno == EAGAIN) return;
  if (size < 0 && errno == EIO && in_background(in_.fd())) {
    watch_source(false);
    retry_ = reactor_.after(kForegroundCheck, [this] {
      retry_ = 0;
      go_on();
    });
    return;
  }
  // For the ranks any other error is the end of stdin.
  if (size <= 0) return stop();
  const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
  for (auto& [number, host] : others_) {
    host.unacknowledged += bytes.size();
    hosts_.send_to(number, wire::agent::Input{std::string(bytes)});
  }
  write_to_ranks(bytes);
  go_on();
}

void StdinInput::watch_source(bool on) {
  if (on == source_watched_ || always_ready_) return;
  if (!on) {
    reactor_.remove(in_.fd(), source_);
    source_watched_ = false;
    return;
  }
  try {
    reactor_.add(in_.fd(), EPOLLIN, source_);
    source_watched_ = true;
  } catch (const os::OsError&) {
    // EPERM: the file is always ready, and epoll does not take it. Other errors (stdin is closed) recur in
    // read().
    always_ready_ = true;
  }
}

void StdinInput::on_stop() {
  reactor_.cancel(std::exchange(retry_, 0));
  watch_source(false);
  for (const auto& [number, host] : std::exchange(others_, {})) hosts_.send_to(number, wire::agent::Input{});
}

LinkInput::LinkInput(os::Reactor& reactor, std::uint32_t readers, HostMessages& hosts)
    : Input(reactor, readers), hosts_(hosts) {}

const char* LinkInput::handle(std::uint32_t, const wire::agent::InputReaders&) { return kNotHere; }

const char* LinkInput::handle(std::uint32_t, const wire::agent::Credit&) { return kNotHere; }

const char* LinkInput::handle(const wire::agent::Input& input) {
  if (!announced_ || ended_) return "is input without a reader";
  // It was sent before host 0 knew that no rank reads any more.
  if (stopped()) return nullptr;
  if (writing_.size() + queue_.size() + input.bytes.size() > wire::agent::kMaxUnacknowledged)
    return "is input without credit";
  ended_ = input.bytes.empty();
  queue_ += input.bytes;
  go_on();
  return nullptr;
}

void LinkInput::on_readers(bool ready) {
  if (!std::exchange(announced_, true)) hosts_.send_to(wire::agent::kOwnHost, wire::agent::InputReaders{});
  if (!ready) return;
  if (!writing_.empty()) {
    const auto bytes = static_cast<std::uint32_t>(writing_.size());
    writing_.clear();
    hosts_.send_to(wire::agent::kOwnHost, wire::agent::Credit{0, -1, bytes});
  }
  if (!queue_.empty()) {
    std::swap(writing_, queue_);
    write_to_ranks(writing_);
    go_on();
  } else if (ended_) {
    stop();
  }
}

void LinkInput::on_stop() {
  announced_ = true;
  // Not if host 0 has ended it: then it does not wait for this.
  if (!ended_) hosts_.send_to(wire::agent::kOwnHost, wire::agent::InputReaders{false});
}

std::unique_ptr<Input> make_input(os::Reactor& reactor, const wire::agent::Hello& hello,
                                  HostMessages& hosts) {
  const std::uint32_t readers = hello.stdin_readers;
  if (hello.host == wire::agent::kOwnHost && (readers > 0 || !hello.stdin_hosts.empty()))
    return std::make_unique<StdinInput>(reactor, readers, hello.stdin_hosts, hosts);
  if (hello.host != wire::agent::kOwnHost && readers > 0)
    return std::make_unique<LinkInput>(reactor, readers, hosts);
  return nullptr;
}

}  // namespace wireup::agent
