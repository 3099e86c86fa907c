#include "runtime/line_reader.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "wire/printable.h"

namespace wireup::runtime {
namespace {

constexpr std::size_t kTextReadSize = 16 << 10;

// The most that read_now() reads, in parts of that size: what a pipe holds, whatever its capacity.
constexpr int kLastReads = 64;

constexpr std::string_view kCutMark = "...";

}  // namespace

LineReader::LineReader(os::Reactor& reactor, os::UniqueFd pipe,
                       std::function<void(const std::string& line)> on_line)
    : reactor_(reactor), pipe_(std::move(pipe)), on_line_(std::move(on_line)) {
  os::set_nonblocking(pipe_.get(), true);
  reactor_.add(pipe_.get(), EPOLLIN, *this);
}

LineReader::~LineReader() { close(); }

void LineReader::close() {
  if (!pipe_) return;
  if (!held_) reactor_.remove(pipe_.get(), *this);
  pipe_.reset();
}

void LineReader::hold(bool on) {
  if (on == held_ || !pipe_) return;
  // Removed, because epoll reports the end of the writer with any mask.
  if (on) {
    reactor_.remove(pipe_.get(), *this);
  } else {
    reactor_.add(pipe_.get(), EPOLLIN, *this);
  }
  held_ = on;
}

void LineReader::on_ready(std::uint32_t) {
  bool gone = false;
  read_once(gone);
}

bool LineReader::read_once(bool& gone) {
  std::array<char, kTextReadSize> buffer;
  const ssize_t size = ::read(pipe_.get(), buffer.data(), buffer.size());
  if (size > 0) {
    gone = !take({buffer.data(), static_cast<std::size_t>(size)});
    return !gone && pipe_;
  }
  if (size < 0 && errno == EINTR) return true;
  if (size < 0 && errno == EAGAIN) return false;
  close();
  gone = !end_line();
  return false;
}

void LineReader::read_now() {
  bool gone = false;
  for (int i = 0; i < kLastReads && pipe_ && read_once(gone); ++i) continue;
}

void LineReader::finish() {
  const os::Lifetime::Watch watch(lifetime_);
  read_now();
  if (watch.gone() || !pipe_) return;
  close();
  end_line();
}

bool LineReader::take(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view part = bytes.substr(0, newline);
    if (!cut_) {
      line_ += part.substr(0, kMaxTextLine - line_.size());
      cut_ = line_.size() == kMaxTextLine;
    }
    if (newline == std::string_view::npos) break;
    bytes.remove_prefix(newline + 1);
    if (!end_line()) return false;
  }
  return true;
}

bool LineReader::end_line() {
  std::string text = std::exchange(line_, {});
  // Terminals and remote shells end lines with \r\n.
  while (text.ends_with('\r')) text.pop_back();
  std::string line = wire::printable(text);
  if (std::exchange(cut_, false)) line += kCutMark;
  if (line.empty()) return true;
  kept_.push_back(line + "\n");
  if (kept_.size() > kKeptLines) kept_.pop_front();
  const os::Lifetime::Watch watch(lifetime_);
  on_line_(line);
  return !watch.gone();
}

std::string LineReader::kept() const {
  std::string text;
  for (const std::string& line : kept_) text += line;
  return text;
}

}  // namespace wireup::runtime
