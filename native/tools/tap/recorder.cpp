#include "tools/tap/recorder.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <utility>

#include "os/thread.h"

#ifndef WIREUP_VERSION
#define WIREUP_VERSION "0.1.0"
#endif

namespace wireup::tap {
namespace {

template <typename Clock>
std::uint64_t now() {
  using std::chrono::microseconds;
  const auto since = Clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<microseconds>(since).count());
}

std::uint64_t monotonic() { return now<std::chrono::steady_clock>(); }

// The client's first request, in PMI-1 and PMI-2. Over PMI_PORT, cmd=initack precedes it.
bool begins_pmi(std::string_view message) { return message.starts_with("cmd=init "); }

// The client's last request, or the reply to it, in PMI-1 and PMI-2.
bool ends_pmi(std::string_view message) { return message.starts_with("cmd=finalize"); }

// The same moment on both clocks, in microseconds.
struct Moment {
  std::uint64_t monotonic;
  std::uint64_t system;
};

// If this process is interrupted between the clocks, all times of this rank are wrong beside those of other
// ranks. Therefore it takes the best of some attempts.
Moment read_clocks() {
  constexpr int kAttempts = 10;
  Moment best{};
  std::uint64_t least = UINT64_MAX;
  for (int i = 0; i < kAttempts; ++i) {
    const std::uint64_t before = monotonic();
    const std::uint64_t system = now<std::chrono::system_clock>();
    const std::uint64_t took = monotonic() - before;
    if (took >= least) continue;
    least = took;
    best = {.monotonic = before, .system = system};
  }
  return best;
}

// The size of as many whole lines as a pipe takes at once, so that the program, which may write to the same
// pipe, does not cut a line; at least of one line.
std::size_t lines_of(std::string_view text) {
  if (text.size() <= PIPE_BUF) return text.size();
  const std::size_t last = text.rfind('\n', PIPE_BUF - 1);
  return (last == std::string_view::npos ? text.find('\n') : last) + 1;
}

}  // namespace

void begin_recording(int file, RecorderOptions& options) {
  const Moment start = read_clocks();
  options.start = start.monotonic;
  if (options.form != wire::RecordForm::json) return;
  std::string text;
  wire::append_header(text, {.start = start.system,
                             .by = "wireup tap",
                             .version = WIREUP_VERSION,
                             .host = options.host,
                             .size = options.group == 0 ? options.size : std::nullopt});
  // The file may be a pipe without a reader. If it takes no bytes now, it takes no records either, and the
  // program runs all the same.
  sigset_t broken_pipe;
  sigset_t before;
  ::sigemptyset(&broken_pipe);
  ::sigaddset(&broken_pipe, SIGPIPE);
  ::sigprocmask(SIG_BLOCK, &broken_pipe, &before);
  constexpr timespec kNow{};
  if (::write(file, text.data(), text.size()) < 0 && errno == EPIPE)
    ::sigtimedwait(&broken_pipe, nullptr, &kNow);
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
}

Recorder::Recorder(os::UniqueFd file, RecorderOptions options)
    : file_(std::move(file)), options_(std::move(options)) {
  thread_ = os::start_thread("wireup-tap", [this] { write_all(); });
}

Recorder::~Recorder() {
  {
    const std::lock_guard lock(mutex_);
    append_dropped();
    over_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

wire::RecordHead Recorder::head() const {
  return {.time = monotonic() - options_.start, .group = options_.group, .rank = options_.rank};
}

void Recorder::connected(std::string_view transport, std::int32_t pid, std::uint32_t uid) {
  record({.event = "connected", .peer = transport, .uid = uid, .pid = pid});
}

void Recorder::refused(std::string_view transport, std::string_view reason) {
  record({.event = "refused", .reason = reason, .peer = transport});
}

void Recorder::ended(wire::Side side) {
  if (const auto rest = splitter_.rest(side)) record(side, *rest, false);
  if (!first_end_) first_end_ = side;
}

void Recorder::closed() {
  // After finalize, servers close the connection first.
  const bool by_server = first_end_ == wire::Side::server && !finalized_;
  record({.event = "closed",
          .reason = by_server ? "the server has closed it" : "",
          .lost = began_ && !finalized_});
}

void Recorder::split(wire::Side side, std::string_view bytes, bool is_secret) {
  while (const auto message = splitter_.next(side, bytes)) record(side, *message, is_secret);
  settle();
}

void Recorder::record(wire::Side side, const wire::CutMessage& message, bool is_secret) {
  began_ = began_ || begins_pmi(message.content);
  finalized_ = finalized_ || ends_pmi(message.content);
  std::optional<std::string> masked;
  if (is_secret && !options_.secrets) masked = wire::mask_secrets(message);
  std::string line;
  if (masked) {
    append_record(line, options_.form, head(), side, {message.framing, *masked, message.length}, true);
  } else {
    append_record(line, options_.form, head(), side, message);
  }
  push(line);
}

void Recorder::record(const wire::RecordedEvent& event) {
  std::string line;
  append_record(line, options_.form, head(), event);
  push(line);
}

void Recorder::push(const std::string& record) {
  {
    const std::lock_guard lock(mutex_);
    if (failed_) return;
    if (waiting_.size() + record.size() > kMaxWaiting) {
      ++dropped_;
      return;
    }
    append_dropped();
    waiting_ += record;
  }
  changed_.notify_one();
}

void Recorder::settle() {
  std::unique_lock lock(mutex_);
  const auto is_idle = [this] { return failed_ || (waiting_.empty() && !writing_); };
  if (late_) return;
  // With the steady clock, the wait would need glibc 2.30.
  late_ = !written_.wait_until(lock, std::chrono::system_clock::now() + kWriteTimeout, is_idle);
}

void Recorder::append_dropped() {
  if (dropped_ == 0) return;
  append_record(waiting_, options_.form, head(), {.event = "dropped", .count = dropped_});
  dropped_ = 0;
}

void Recorder::write_all() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return over_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const std::string bytes = std::move(waiting_);
    waiting_.clear();
    writing_ = true;
    lock.unlock();
    std::string_view rest = bytes;
    while (!rest.empty()) {
      const ssize_t size = ::write(file_.get(), rest.data(), lines_of(rest));
      if (size >= 0) {
        rest.remove_prefix(static_cast<std::size_t>(size));
      } else if (errno == EAGAIN) {
        // Another process has made stderr non-blocking.
        os::wait_writable(file_.get(), -1);
      } else if (errno != EINTR) {
        break;
      }
    }
    lock.lock();
    writing_ = false;
    failed_ = !rest.empty();
    if (waiting_.empty()) late_ = false;
    written_.notify_one();
    if (failed_) return;
  }
}

}  // namespace wireup::tap
