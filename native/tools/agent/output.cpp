#include "tools/agent/output.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "os/error.h"

namespace wireup::agent {
namespace {

using wire::agent::OutputMode;

std::int64_t seconds_now() {
  using namespace std::chrono;
  return duration_cast<seconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

// One pipe of one rank. Splits the bytes into lines for its sink.
class OutputStream final : public os::Handler, public LineSource {
 public:
  OutputStream(Output& output, std::shared_ptr<Sink> sink, const RankNames& names, os::UniqueFd pipe)
      : output_(output), sink_(std::move(sink)), pipe_(std::move(pipe)) {
    if (mentions(output.label_of(names), 't')) {
      names_ = names;
    } else {
      label_ = expand(output.label_of(names), names, 0);
    }
    os::set_nonblocking(pipe_.get(), true);
  }
  ~OutputStream() override { watch(false); }

  const std::shared_ptr<Sink>& sink() const { return sink_; }
  int fd() const { return pipe_.get(); }

  void watch(bool on) {
    if (on == watched_) return;
    if (on) {
      output_.reactor_.add(fd(), EPOLLIN, *this);
    } else {
      output_.reactor_.remove(fd(), *this);
    }
    watched_ = on;
  }

  // Returns whether the last line has not ended.
  bool feed(std::string_view bytes) {
    last_ = os::Reactor::Clock::now();
    const std::size_t end = bytes.rfind('\n') + 1;
    if (end != 0) {
      const std::string_view lines = bytes.substr(0, end);
      if (partial_.empty()) {
        sink_->append(*this, lines);
      } else {
        partial_ += lines;
        sink_->append(*this, std::exchange(partial_, {}));
      }
      begun_ = false;
    }
    if (partial_.empty()) since_ = last_;
    partial_ += bytes.substr(end);
    if (partial_.size() >= kMaxLine) write_partial();
    return begun_ || !partial_.empty();
  }

  // Writes the beginning of the line, and lets other sources cut it.
  void write_and_release() {
    write_partial();
    sink_->release(*this);
    begun_ = false;
  }

  void end() {
    write_partial();
    sink_->end(*this);
  }

  // When the beginning of the line has waited long enough, or the stream has been silent long enough.
  os::Reactor::Clock::time_point due() const { return (partial_.empty() ? last_ : since_) + kPartialDelay; }

  bool waiting = false;  // in Output::waiting_

 private:
  void on_ready(std::uint32_t) override { output_.on_stream_ready(*this); }

  void append_label(std::string& out) const override {
    out += names_ ? expand(output_.label_of(*names_), *names_, seconds_now()) : label_;
  }

  void write_partial() {
    if (partial_.empty()) return;
    sink_->append(*this, std::exchange(partial_, {}));
    begun_ = true;
  }

  Output& output_;
  std::shared_ptr<Sink> sink_;
  std::string label_;
  std::optional<RankNames> names_;  // if the label contains the time
  os::UniqueFd pipe_;
  std::string partial_;
  bool begun_ = false;  // a part of the line has been written
  bool watched_ = false;
  os::Reactor::Clock::time_point last_;   // of the last read
  os::Reactor::Clock::time_point since_;  // of the first byte of partial_
};

Output::Output(os::Reactor& reactor, const wire::agent::Hello& plans, OutputObserver& observer)
    : reactor_(reactor),
      observer_(observer),
      out_(plans.out),
      err_(plans.err),
      label_(plans.label),
      spawned_label_(plans.spawned_label),
      // With a long label, short lines become much longer, so less is read at once.
      buffer_(
          std::max(kReadSize / (1 + std::max(label_.size(), spawned_label_.size()) / 16), kReadSize / 16)) {
  if (out_.mode == OutputMode::merge) joined(STDOUT_FILENO);
  if (err_.mode == OutputMode::merge) joined(STDERR_FILENO);
}

// Makes the sink at the first call.
std::shared_ptr<Sink> Output::joined(int fd) {
  std::shared_ptr<Sink>& sink = fd == STDERR_FILENO ? stderr_ : stdout_;
  const std::shared_ptr<Sink>& other = fd == STDERR_FILENO ? stdout_ : stderr_;
  if (!sink && other && same_stream(STDOUT_FILENO, STDERR_FILENO)) sink = other;
  if (!sink) {
    sink = std::make_shared<Sink>(reactor_, fd, fd == STDERR_FILENO ? "stderr" : "stdout", !label_.empty(),
                                  static_cast<SinkObserver&>(*this));
  }
  return sink;
}

Output::~Output() {
  if (partial_timer_ != 0) reactor_.cancel(partial_timer_);
}

const wire::agent::OutputPlan& Output::plan(int fd) const { return fd == STDERR_FILENO ? err_ : out_; }

os::UniqueFd Output::open(const RankNames& names, int fd) {
  if (plan(fd).mode == OutputMode::file) return open_file(names, plan(fd).file);
  return open_stream(names, joined(fd));
}

os::UniqueFd Output::open_file(const RankNames& names, const std::string& pattern) {
  const std::string name = expand(pattern, names, seconds_now());
  // O_APPEND: several ranks may write to one file. O_NONBLOCK: a FIFO without a reader is an error, and
  // open(2) does not wait for one.
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  const auto make = [&] {
    os::UniqueFd file(::open(name.c_str(), kFlags, 0666));
    if (!file) throw os::OsError::last("open", name);
    return file;
  };
  const bool shared = !mentions(pattern, 'r');
  if (label_.empty()) {
    os::UniqueFd file;
    if (const auto known = files_.find(name); known != files_.end()) {
      file.reset(::fcntl(known->second.get(), F_DUPFD_CLOEXEC, 0));
      if (!file) throw os::OsError::last("fcntl", name);
      return file;
    }
    file = make();
    os::set_nonblocking(file.get(), false);
    if (shared) {
      files_.emplace(name, ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
    }
    return file;
  }
  if (const auto known = file_sinks_.find(name); known != file_sinks_.end())
    return open_stream(names, known->second);
  os::UniqueFd file = make();
  struct stat status {};
  // Unlike a regular file, a FIFO or device can be full at the end of the stream, so its sink must outlive
  // it.
  const bool stays = shared || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode);
  auto sink =
      std::make_shared<Sink>(reactor_, std::move(file), name, true, static_cast<SinkObserver&>(*this));
  if (stays) file_sinks_.emplace(name, sink);
  return open_stream(names, std::move(sink));
}

os::UniqueFd Output::open_stream(const RankNames& names, std::shared_ptr<Sink> sink) {
  os::FdPair pipe = os::make_pipe();
  // If the sink is broken, the rank gets a pipe without a reader.
  if (sink->broken()) return std::move(pipe.second);
  auto stream = std::make_unique<OutputStream>(*this, std::move(sink), names, std::move(pipe.first));
  stream->watch(true);
  streams_.emplace(stream.get(), std::move(stream));
  return std::move(pipe.second);
}

void Output::show_status(std::string_view line) {
  if (stderr_) stderr_->show_status(line);
}

void Output::drain(std::function<void()> done) {
  drained_ = std::move(done);
  drain_some();
}

void Output::drop() {
  drained_ = nullptr;
  partial_.clear();
  waiting_.clear();
  streams_.clear();
  for (const auto& sink : {stdout_, stderr_}) {
    if (sink) sink->drop();
  }
  for (const auto& [name, sink] : file_sinks_) sink->drop();
}

void Output::on_stream_ready(OutputStream& stream) {
  if (may_read(stream)) read_some(stream);
}

bool Output::may_read(OutputStream& stream) {
  const Sink& sink = *stream.sink();
  if (!sink.blocked() && !sink.held_from(stream)) return true;
  stream.watch(false);
  if (!std::exchange(stream.waiting, true)) waiting_[&sink].push_back(&stream);
  return false;
}

void Output::read_some(OutputStream& stream) {
  // The stream may be destroyed, and with it the last reference to its sink.
  const std::shared_ptr<Sink> sink = stream.sink();
  const ssize_t size = ::read(stream.fd(), buffer_.data(), buffer_.size());
  if (size > 0) {
    if (stream.feed({buffer_.data(), static_cast<std::size_t>(size)})) {
      expect_rest(stream);
    } else {
      partial_.erase(&stream);
    }
  } else if (size < 0 && (errno == EINTR || (errno == EAGAIN && !drained_))) {
    return;
  } else {
    stream.end();
    forget(stream);
    streams_.erase(&stream);
  }
  written(sink);
}

void Output::written(const std::shared_ptr<Sink>& sink) {
  if (sink == stderr_ && sink->printed() && !std::exchange(reported_printed_, true)) observer_.on_printed();
  sink->flush();
  if (sink->broken()) {
    close_streams_of(*sink);
  } else {
    serve_waiting(*sink);
  }
}

void Output::on_sink_ready(Sink& sink) {
  if (sink.broken()) {
    close_streams_of(sink);
  } else {
    serve_waiting(sink);
  }
  if (drained_) drain_some();
}

// Reads each waiting stream once, in order, until the sink is full again.
void Output::serve_waiting(Sink& sink) {
  if (serving_ || drained_) return;
  serving_ = true;
  while (!sink.blocked() && !sink.broken()) {
    const auto entry = waiting_.find(&sink);
    if (entry == waiting_.end()) break;
    std::deque<OutputStream*>& waiting = entry->second;
    const auto next =
        std::ranges::find_if(waiting, [&](OutputStream* stream) { return !sink.held_from(*stream); });
    if (next == waiting.end()) break;
    OutputStream* const stream = *next;
    waiting.erase(next);
    if (waiting.empty()) waiting_.erase(entry);
    stream->waiting = false;
    const std::shared_ptr<Sink> keep = stream->sink();
    read_some(*stream);
    if (streams_.contains(stream) && may_read(*stream)) stream->watch(true);
  }
  serving_ = false;
}

void Output::forget(OutputStream& stream) {
  partial_.erase(&stream);
  if (!stream.waiting) return;
  const auto entry = waiting_.find(stream.sink().get());
  if (entry != waiting_.end()) std::erase(entry->second, &stream);
}

void Output::close_streams_of(const Sink& sink) {
  std::erase_if(streams_, [&](const auto& entry) {
    if (entry.second->sink().get() != &sink) return false;
    partial_.erase(entry.first);
    return true;
  });
  waiting_.erase(&sink);
  if (!lost_.insert(sink.name()).second) return;
  observer_.on_output_lost(sink.error(), sink.name());
}

void Output::expect_rest(OutputStream& stream) {
  partial_.insert(&stream);
  if (partial_timer_ != 0) return;
  partial_timer_ = reactor_.after(kPartialDelay, [this] { flush_partials(); });
}

void Output::flush_partials() {
  partial_timer_ = 0;
  const auto now = os::Reactor::Clock::now();
  std::vector<OutputStream*> silent;
  std::optional<os::Reactor::Clock::time_point> next;
  for (OutputStream* stream : partial_) {
    // A stream that waits for its sink is not silent.
    const bool due = !stream->waiting && now >= stream->due();
    if (due && !stream->sink()->held_from(*stream) && !stream->sink()->blocked()) {
      silent.push_back(stream);
    } else {
      const auto when = due || stream->waiting ? now + kPartialDelay : stream->due();
      next = next ? std::min(*next, when) : when;
    }
  }
  if (next) partial_timer_ = reactor_.at(*next, [this] { flush_partials(); });
  for (OutputStream* stream : silent) {
    // The stream before it may have broken or taken the sink. Then it waits for the next turn.
    if (!partial_.contains(stream)) continue;
    if (stream->sink()->held_from(*stream) || stream->sink()->blocked()) {
      expect_rest(*stream);
      continue;
    }
    partial_.erase(stream);
    const std::shared_ptr<Sink> sink = stream->sink();
    stream->write_and_release();
    written(sink);
  }
}

// Reads each pipe once a turn, so that the launcher's socket is served too.
void Output::drain_some() {
  if (!drained_) return;
  std::vector<OutputStream*> readable;
  for (auto& [key, stream] : streams_) {
    stream->watch(false);
    if (!stream->sink()->blocked()) readable.push_back(key);
  }
  for (OutputStream* stream : readable) {
    // Meanwhile the sink may have broken, become full, or been taken by the line of another stream. Then its
    // streams wait for the next turn.
    if (!streams_.contains(stream)) continue;
    const Sink& sink = *stream->sink();
    if (!sink.blocked() && !sink.held_from(*stream)) read_some(*stream);
  }
  if (all_written()) {
    std::exchange(drained_, nullptr)();
    return;
  }
  if (!readable.empty()) reactor_.post([this] { drain_some(); });
}

bool Output::all_written() const {
  const auto done = [](const auto& sink) { return !sink || !sink->blocked(); };
  return streams_.empty() && done(stdout_) && done(stderr_) &&
         std::ranges::all_of(file_sinks_, [&](const auto& entry) { return done(entry.second); });
}

}  // namespace wireup::agent
