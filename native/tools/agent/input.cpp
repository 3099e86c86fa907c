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
// Shorter than the time in which a user types after `fg`, and long enough to cost nearly nothing.
constexpr std::chrono::milliseconds kForegroundCheck{300};

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

Input::Input(os::Reactor& reactor, std::uint32_t readers)
    : reactor_(reactor), in_(STDIN_FILENO, Stdio::Direction::in), expected_(readers), buffer_(kChunk) {}

Input::~Input() { stop(); }

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
  if (expected_ > 0) return;
  if (pipes_.empty()) return stop();
  bool ready = true;
  for (const auto& [task, pipe] : pipes_) ready = pipe->ready() && ready;
  watch_source(ready);
  // By a timer, so that the loop serves other fds first.
  if (ready && always_ready_ && retry_ == 0) {
    retry_ = reactor_.after(os::Reactor::Clock::duration::zero(), [this] {
      retry_ = 0;
      copy_some();
    });
  }
}

void Input::copy_some() {
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
  std::erase_if(pipes_, [&](const auto& entry) {
    entry.second->rest = {buffer_.data(), static_cast<std::size_t>(size)};
    return !entry.second->write_rest();
  });
  go_on();
}

void Input::watch_source(bool on) {
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

void Input::stop() {
  if (std::exchange(ended_, true)) return;
  reactor_.cancel(std::exchange(retry_, 0));
  watch_source(false);
  pipes_.clear();
}

}  // namespace wireup::agent
