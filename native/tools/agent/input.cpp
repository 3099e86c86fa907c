#include "tools/agent/input.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "os/error.h"

namespace wireup::agent {
namespace {

// A pipe's default capacity.
constexpr std::size_t kChunk = 64 << 10;
// Short beside what a person needs to type after `fg`, long enough to cost nothing.
constexpr std::chrono::milliseconds kForegroundCheck{300};

bool has_room(int pipe) {
  pollfd entry{pipe, POLLOUT, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & POLLOUT) != 0;
}

bool in_background(int fd) {
  const pid_t foreground = ::tcgetpgrp(fd);
  return foreground >= 0 && foreground != ::getpgrp();
}

}  // namespace

Input::Input(os::Reactor& reactor, os::UniqueFd pipe)
    : reactor_(reactor), in_(STDIN_FILENO, Stdio::Direction::in), pipe_fd_(std::move(pipe)), buffer_(kChunk) {
  os::set_nonblocking(pipe_fd_.get(), true);
  reactor_.add(pipe_fd_.get(), 0, pipe_);
  wait_for_input();
}

Input::~Input() { stop(); }

void Input::on_source_ready() {
  if (has_room(pipe_fd_.get())) {
    copy_some();
  } else {
    wait_for_room();
  }
}

void Input::on_pipe_ready(std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    stop();
  } else if (!write_rest()) {
    return;
  } else if (always_ready_) {
    copy_some();
  } else {
    wait_for_input();
  }
}

void Input::copy_some() {
  const ssize_t size = in_.read(buffer_.data(), buffer_.size());
  if (size > 0) {
    rest_ = {buffer_.data(), static_cast<std::size_t>(size)};
    if (!write_rest() && pipe_fd_) wait_for_room();
    return;
  }
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0 && errno == EIO && in_background(in_.fd())) {
    watch_source(false);
    retry_ = reactor_.after(kForegroundCheck, [this] {
      retry_ = 0;
      wait_for_input();
    });
    return;
  }
  // Any other error means the same to the rank: there is nothing more to read.
  stop();
}

bool Input::write_rest() {
  while (!rest_.empty()) {
    const ssize_t written = ::write(pipe_fd_.get(), rest_.data(), rest_.size());
    if (written >= 0) {
      rest_.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      return false;
    } else if (errno != EINTR) {
      stop();
      return false;
    }
  }
  return true;
}

void Input::wait_for_input() {
  // The pipe's room is of no interest now; that its reader has gone is always told.
  reactor_.modify(pipe_fd_.get(), 0, pipe_);
  watch_source(true);
  if (always_ready_) wait_for_room();
}

void Input::wait_for_room() {
  watch_source(false);
  reactor_.modify(pipe_fd_.get(), EPOLLOUT, pipe_);
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
    // EPERM: epoll does not take what is always ready. Anything else (stdin is closed) shows in the read.
    always_ready_ = true;
  }
}

void Input::stop() {
  if (!pipe_fd_) return;
  if (retry_ != 0) reactor_.cancel(retry_);
  watch_source(false);
  reactor_.remove(pipe_fd_.get(), pipe_);
  pipe_fd_.reset();
}

}  // namespace wireup::agent
