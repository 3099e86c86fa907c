#include "tools/agent/sink.h"

#include <sys/epoll.h>

#include <cerrno>
#include <cstring>

namespace wireup::agent {

Sink::Sink(os::Reactor& reactor, int fd, SinkObserver& observer)
    : reactor_(reactor), observer_(observer), number_(fd), out_(fd, Stdio::Direction::out) {}

Sink::~Sink() { watch(false); }

void Sink::append(const void* source, std::string_view label, std::string_view text) {
  if (broken_) return;
  if (open_line_ != source) {
    if (open_line_ != nullptr) pending_ += '\n';
    pending_ += label;
  }
  pending_ += text;
  open_line_ = text.ends_with('\n') ? nullptr : source;
}

void Sink::end_line(const void* source) {
  if (open_line_ != source) return;
  pending_ += '\n';
  open_line_ = nullptr;
}

void Sink::flush() {
  std::string_view rest = pending_;
  bool full = false;
  while (!rest.empty() && !full && !broken_) {
    const ssize_t written = out_.write(rest.data(), rest.size());
    if (written >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      full = true;
    } else if (errno != EINTR) {
      broken_ = true;
      // A reader that leaves is everyday (| head); anything else explains lost output.
      if (errno != EPIPE) {
        complain("cannot write to %s: %s; the ranks' output to it is dropped",
                 number_ == 1 ? "stdout" : "stderr", std::strerror(errno));
      }
    }
  }
  if (broken_) rest = {};
  pending_.erase(0, pending_.size() - rest.size());
  watch(full);
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
