#include "tools/agent/sink.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "wire/printable.h"

namespace wireup::agent {
namespace {

// At the end of the first part of a cut line, and before the rest.
constexpr std::string_view kCut = "...";

// Moves to the first column and erases the line (ECMA-48: EL).
constexpr std::string_view kEraseLine = "\r\x1b[K";

}  // namespace

Sink::Sink(os::Reactor& reactor, int fd, std::string name, bool labelled, SinkObserver& observer)
    : reactor_(reactor),
      observer_(observer),
      name_(std::move(name)),
      out_(fd, Stdio::Direction::out),
      labelled_(labelled),
      terminal_(::isatty(fd) == 1) {}

Sink::Sink(os::Reactor& reactor, os::UniqueFd file, std::string name, bool labelled, SinkObserver& observer)
    : reactor_(reactor),
      observer_(observer),
      name_(std::move(name)),
      file_(std::move(file)),
      out_(file_.get(), Stdio::Direction::out),
      labelled_(labelled),
      terminal_(false) {}

Sink::~Sink() { watch(false); }

void Sink::append(LineSource& source, std::string_view text) {
  if (broken() || text.empty()) return;
  if (terminal_ && !std::exchange(printed_, true) && std::exchange(status_, false)) pending_ += kEraseLine;
  if (open_ != &source) {
    close_line();
    begin_line(source);
  }
  if (!labelled_) {
    pending_ += text;
  } else {
    for (;;) {
      const std::size_t end = text.find('\n') + 1;
      if (end == 0 || end == text.size()) break;
      pending_ += text.substr(0, end);
      text.remove_prefix(end);
      begin_line(source);
    }
    pending_ += text;
  }
  line_open_ = !text.ends_with('\n');
  open_ = line_open_ ? &source : nullptr;
  held_ = line_open_;
}

void Sink::begin_line(LineSource& source) {
  if (!labelled_) return;
  source.append_label(pending_);
  if (source.cut_) pending_ += kCut;
  source.cut_ = false;
}

void Sink::close_line() {
  if (!line_open_) return;
  if (labelled_ && open_ != nullptr) {
    pending_ += kCut;
    open_->cut_ = true;
  }
  pending_ += '\n';
  line_open_ = false;
  open_ = nullptr;
}

void Sink::release(const LineSource& source) {
  if (open_ == &source) held_ = false;
}

void Sink::end(const LineSource& source) {
  if (open_ != &source) return;
  held_ = false;
  open_ = nullptr;
  if (labelled_) close_line();
}

void Sink::show_status(std::string_view line) {
  if (!terminal_ || printed_ || broken()) return;
  if (status_) pending_ += kEraseLine;
  // A line that takes two rows could not be erased. No UTF-8 character has more columns than bytes.
  winsize size{};
  if (::ioctl(out_.fd(), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) line = wire::cut(line, size.ws_col - 1U);
  pending_ += line;
  status_ = !line.empty();
  flush();
}

void Sink::flush() {
  std::string_view rest = pending_;
  bool full = false;
  while (!rest.empty() && !full && !broken()) {
    const ssize_t written = out_.write(rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      full = true;
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  if (broken()) rest = {};
  pending_.erase(0, pending_.size() - rest.size());
  watch(full);
}

void Sink::drop() {
  pending_.clear();
  watch(false);
}

void Sink::on_ready(std::uint32_t) {
  flush();
  if (!blocked()) observer_.on_sink_ready(*this);
}

void Sink::watch(bool on) {
  if (on == watched_) return;
  watched_ = on;
  if (on) {
    reactor_.add(out_.fd(), EPOLLOUT, *this);
  } else {
    reactor_.remove(out_.fd(), *this);
  }
}

}  // namespace wireup::agent
