#include "tools/agent/output_stream.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace wireup::agent {
namespace {

using wire::agent::OpenLine;

}  // namespace

PipeStream::PipeStream(os::Reactor& reactor, PipeStreamOwner& owner, std::shared_ptr<Sink> sink,
                       os::UniqueFd pipe, std::string label, const RankNames& names)
    : OutputStream(std::move(sink), false),
      reactor_(reactor),
      owner_(owner),
      pipe_(std::move(pipe)),
      by_lines_(true),
      label_(std::move(label)),
      timed_(mentions(label_, 't')),
      names_(names) {
  if (!timed_) label_ = expand(label_, names_, 0);
  os::set_nonblocking(pipe_.get(), true);
}

PipeStream::PipeStream(os::Reactor& reactor, PipeStreamOwner& owner, std::shared_ptr<Sink> sink,
                       os::UniqueFd pipe)
    : OutputStream(std::move(sink), false),
      reactor_(reactor),
      owner_(owner),
      pipe_(std::move(pipe)),
      by_lines_(false) {
  os::set_nonblocking(pipe_.get(), true);
}

OutputStream::Result PipeStream::read(os::Buffer& buffer, bool empty_is_end) {
  const ssize_t size = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (size > 0) return feed({buffer.data(), static_cast<std::size_t>(size)});
  const bool wait = size < 0 && (errno == EINTR || (errno == EAGAIN && !empty_is_end));
  return wait ? Result::nothing : Result::end;
}

void PipeStream::watch(bool on) {
  if (on == watched_) return;
  if (on) {
    reactor_.add(pipe_.get(), EPOLLIN, *this);
  } else {
    reactor_.remove(pipe_.get(), *this);
  }
  watched_ = on;
}

OutputStream::Result PipeStream::feed(std::string_view bytes) {
  if (!by_lines_) {
    sink()->append(*this, bytes);
    return Result::lines;
  }
  last_ = os::Reactor::Clock::now();
  const std::size_t end = bytes.rfind('\n') + 1;
  if (end != 0) {
    const std::string_view lines = bytes.substr(0, end);
    if (partial_.empty()) {
      sink()->append(*this, lines);
    } else {
      partial_ += lines;
      sink()->append(*this, std::exchange(partial_, {}));
    }
    begun_ = false;
  }
  if (partial_.empty()) since_ = last_;
  partial_ += bytes.substr(end);
  if (partial_.size() >= kMaxLine) write_partial();
  return begun_ || !partial_.empty() ? Result::in_line : Result::lines;
}

void PipeStream::write_and_release() {
  write_partial();
  OutputStream::write_and_release();
  begun_ = false;
}

void PipeStream::end() {
  write_partial();
  OutputStream::end();
}

void PipeStream::append_label(std::string& out) const {
  out += timed_ ? expand(label_, names_, seconds_now()) : label_;
}

void PipeStream::write_partial() {
  if (partial_.empty()) return;
  sink()->append(*this, std::exchange(partial_, {}));
  begun_ = true;
}

bool HostStream::push(wire::agent::Output output) {
  if (ends_) return false;
  const bool of_task = lane_.task >= 0;
  const std::size_t window = of_task ? wire::agent::kMaxTaskUnacknowledged : wire::agent::kMaxUnacknowledged;
  const std::size_t cost = wire::agent::cost(output);
  if (unacknowledged_ + cost > window) return false;
  if (of_task) {
    ends_ = output.bytes.empty();
    if (ends_) return true;
  } else if (output.bytes.empty() && (output.open_line != OpenLine::ended || !in_line_)) {
    // Empty messages cost nothing, so there must not be more of them than others.
    return false;
  }
  unacknowledged_ += cost;
  in_line_ = !output.bytes.empty() && !output.bytes.ends_with('\n');
  queue_.push_back(std::move(output));
  return true;
}

std::uint32_t HostStream::take_credit() {
  const std::size_t credit = std::exchange(owed_, 0);
  unacknowledged_ -= credit;
  return static_cast<std::uint32_t>(credit);
}

OutputStream::Result HostStream::read(os::Buffer&, bool) {
  if (queue_.empty()) return ends_ ? Result::end : Result::nothing;
  wire::agent::Output output = std::move(queue_.front());
  queue_.pop_front();
  last_ = os::Reactor::Clock::now();
  unwritten_ += wire::agent::cost(output);
  if (output.open_line == OpenLine::cut) {
    sink()->cut(*this);
  } else if (output.open_line == OpenLine::ended) {
    sink()->end(*this);
  }
  label_ = std::move(output.label);
  sink()->append(*this, output.bytes);
  if (lane_.task >= 0 || output.bytes.empty()) return Result::lines;
  return output.bytes.ends_with('\n') ? Result::lines : Result::in_line;
}

void HostStream::on_written() {
  owed_ += std::exchange(unwritten_, 0);
  if (owed_ > 0) owner_.on_stream_credit(lane_);
}

}  // namespace wireup::agent
