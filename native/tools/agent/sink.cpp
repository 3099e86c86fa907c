#include "tools/agent/sink.h"

namespace wireup::agent {
namespace {

// At the beginning of the rest of a cut line, after its label.
constexpr std::string_view kCut = "...";

}  // namespace

void Sink::append(LineSource& source, std::string_view text) {
  if (broken() || text.empty()) return;
  before_text(source);
  unwritten_ = &source;
  if (open_ != &source) {
    close_line();
    begin_line(source);
  }
  if (labelled_ && !source.labelled_) {
    for (;;) {
      const std::size_t end = text.find('\n') + 1;
      if (end == 0 || end == text.size()) break;
      pending_ += text.substr(0, end);
      text.remove_prefix(end);
      begin_line(source);
    }
  }
  pending_ += text;
  line_open_ = !text.ends_with('\n');
  open_ = line_open_ ? &source : nullptr;
  held_ = line_open_;
}

void Sink::begin_line(LineSource& source) {
  if (!labelled_) return;
  if (source.cut_ || !source.labelled_) source.append_label(pending_);
  if (source.cut_) pending_ += kCut;
  source.cut_ = false;
}

void Sink::close_line() {
  if (!line_open_) return;
  const bool cut = labelled_ && open_ != nullptr;
  if (cut) open_->cut_ = true;
  break_line(cut);
  line_open_ = false;
  open_ = nullptr;
  held_ = false;
}

void Sink::release(const LineSource& source) {
  if (open_ == &source) held_ = false;
}

void Sink::cut(LineSource& source) {
  if (open_ == &source) close_line();
  source.cut_ = false;
}

void Sink::end(LineSource& source) {
  source.cut_ = false;
  if (open_ != &source) return;
  held_ = false;
  open_ = nullptr;
  if (labelled_) close_line();
}

void Sink::forget(const LineSource& source) {
  if (unwritten_ == &source) unwritten_ = nullptr;
  if (open_ != &source) return;
  held_ = false;
  open_ = nullptr;
}

std::string Sink::label_of(const LineSource& source) const {
  std::string label;
  if (labelled_) source.append_label(label);
  return label;
}

void Sink::written() {
  if (unwritten_ != nullptr) std::exchange(unwritten_, nullptr)->on_written();
}

}  // namespace wireup::agent
