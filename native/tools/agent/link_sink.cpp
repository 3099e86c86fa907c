#include "tools/agent/link_sink.h"

#include <algorithm>
#include <utility>

namespace wireup::agent {
namespace {

using wire::agent::OpenLine;

// A message must fit into the window together with its label.
constexpr std::size_t kMaxLabel = 4 << 10;

}  // namespace

LinkSink::LinkSink(HostMessages& hosts, std::uint32_t stream, std::int64_t task, bool labelled,
                   SinkObserver& observer)
    : Sink({}, labelled),
      hosts_(hosts),
      observer_(observer),
      stream_(stream),
      task_(task),
      window_(task < 0 ? wire::agent::kMaxUnacknowledged : wire::agent::kMaxTaskUnacknowledged) {}

void LinkSink::before_text(const LineSource& source) {
  label_ = label_of(source);
  label_.resize(std::min(label_.size(), kMaxLabel));
}

void LinkSink::break_line(bool cut) {
  // Host 0 may have cut the line itself, so it decides what to add. A line that it does not yet know ends
  // here.
  if (pending_.empty()) {
    open_line_ = cut ? OpenLine::cut : OpenLine::ended;
  } else {
    pending_ += cut ? "...\n" : "\n";
  }
}

void LinkSink::end(LineSource& source) {
  Sink::end(source);
  end_ = task_ >= 0;
}

// Of the part of pending_ that is sent next: whole lines, if they are not too long.
std::size_t LinkSink::next_size() const {
  const std::size_t limit = std::min(wire::agent::kMaxPart, window_ / 2);
  if (pending_.size() <= limit) return pending_.size();
  const std::size_t lines = std::string_view(pending_).substr(0, limit).rfind('\n') + 1;
  return lines == 0 ? limit : lines;
}

void LinkSink::flush() {
  blocked_ = false;
  while (!broken() && (!pending_.empty() || open_line_ != OpenLine::continues || end_)) {
    wire::agent::Output output{stream_, task_, pending_.substr(0, next_size()), open_line_};
    if (in_line_ && open_line_ == OpenLine::continues) output.label = label_;
    const std::size_t cost = wire::agent::cost(output);
    if (unacknowledged_ + cost > window_) {
      blocked_ = true;
      break;
    }
    unacknowledged_ += cost;
    pending_.erase(0, output.bytes.size());
    if (output.bytes.empty()) end_ = false;
    in_line_ = !output.bytes.empty() && !output.bytes.ends_with('\n');
    open_line_ = OpenLine::continues;
    hosts_.send_to(wire::agent::kOwnHost, std::move(output));
  }
  if (!blocked_ && !broken()) written();
}

void LinkSink::drop() {
  pending_.clear();
  blocked_ = false;
  dropped_ = true;
}

bool LinkSink::acknowledge(std::size_t bytes) {
  if (bytes > unacknowledged_) return false;
  unacknowledged_ -= bytes;
  if (blocked_) flush();
  if (!blocked_) observer_.on_sink_ready(*this);
  return true;
}

void LinkSink::refuse(int error) {
  if (broken()) return;
  error_ = error;
  pending_.clear();
  blocked_ = false;
  observer_.on_sink_ready(*this);
}

}  // namespace wireup::agent
