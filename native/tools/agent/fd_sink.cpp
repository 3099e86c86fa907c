#include "tools/agent/fd_sink.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "wire/printable.h"

namespace wireup::agent {
namespace {

// Moves to the first column and erases the line (ECMA-48: EL).
constexpr std::string_view kEraseLine = "\r\x1b[K";

}  // namespace

FdSink::FdSink(os::Reactor& reactor, int fd, std::string name, bool labelled, SinkObserver& observer)
    : Sink(std::move(name), labelled),
      reactor_(reactor),
      observer_(observer),
      out_(fd, Stdio::Direction::out),
      terminal_(::isatty(fd) == 1) {}

FdSink::FdSink(os::Reactor& reactor, os::UniqueFd file, std::string name, bool labelled,
               SinkObserver& observer)
    : Sink(std::move(name), labelled),
      reactor_(reactor),
      observer_(observer),
      out_(std::move(file)),
      terminal_(false) {}

FdSink::~FdSink() { watch(false); }

void FdSink::before_text(const LineSource&) {
  if (terminal_ && !std::exchange(printed_, true) && std::exchange(status_, false)) pending_ += kEraseLine;
}

void FdSink::break_line(bool cut) { pending_ += cut ? "...\n" : "\n"; }

void FdSink::show_status(std::string_view line) {
  if (!terminal_ || printed_ || broken()) return;
  if (status_) pending_ += kEraseLine;
  // A line that takes two rows could not be erased. No UTF-8 character has more columns than bytes.
  winsize size{};
  if (::ioctl(out_.fd(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) line = wire::cut(line, size.ws_col - 1U);
  pending_ += line;
  status_ = !line.empty();
  flush();
}

void FdSink::flush() {
  std::string_view rest = pending_;
  bool full = false;
  while (!rest.empty() && !full && !broken()) {
    const ssize_t size = out_.write(rest.data(), rest.size());
    if (size >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      full = true;
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  if (broken()) rest = {};
  pending_.erase(0, pending_.size() - rest.size());
  watch(full);
  if (!full && !broken()) written();
}

void FdSink::drop() {
  pending_.clear();
  watch(false);
}

void FdSink::on_ready(std::uint32_t) {
  flush();
  if (!blocked()) observer_.on_sink_ready(*this);
}

void FdSink::watch(bool on) {
  if (on == watched_) return;
  watched_ = on;
  if (on) {
    reactor_.add(out_.fd(), EPOLLOUT, *this);
  } else {
    reactor_.remove(out_.fd(), *this);
  }
}

}  // namespace wireup::agent
