#include "tools/agent/output.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace wireup::agent {

// One pipe of one rank: cuts what it reads into lines for its sink.
class LabelledStream final : public os::Handler {
 public:
  LabelledStream(Output& output, Sink& sink, std::uint32_t rank, os::UniqueFd pipe)
      : output_(output), sink_(sink), label_("[" + std::to_string(rank) + "] "), pipe_(std::move(pipe)) {
    os::set_nonblocking(pipe_.get(), true);
  }
  ~LabelledStream() override { watch(false); }

  Sink& sink() const { return sink_; }
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

  void feed(std::string_view bytes) {
    for (;;) {
      const std::size_t newline = bytes.find('\n');
      if (newline == std::string_view::npos) break;
      const std::string_view line = bytes.substr(0, newline + 1);
      if (partial_.empty()) {
        sink_.append(this, label_, line);
      } else {
        partial_ += line;
        sink_.append(this, label_, std::exchange(partial_, {}));
      }
      bytes.remove_prefix(newline + 1);
    }
    partial_ += bytes;
    if (partial_.size() >= kMaxLine) sink_.append(this, label_, std::exchange(partial_, {}));
  }

  void end() {
    if (!partial_.empty()) sink_.append(this, label_, std::exchange(partial_, {}));
    sink_.end_line(this);
  }

 private:
  void on_ready(std::uint32_t) override { output_.on_stream_ready(*this); }

  Output& output_;
  Sink& sink_;
  std::string label_;
  os::UniqueFd pipe_;
  std::string partial_;
  bool watched_ = false;
};

Output::Output(os::Reactor& reactor)
    : reactor_(reactor),
      stdout_(std::make_unique<Sink>(reactor, STDOUT_FILENO, static_cast<SinkObserver&>(*this))),
      stderr_(same_stream(STDOUT_FILENO, STDERR_FILENO)
                  ? nullptr
                  : std::make_unique<Sink>(reactor, STDERR_FILENO, static_cast<SinkObserver&>(*this))),
      buffer_(kReadSize) {}

Output::~Output() = default;

os::UniqueFd Output::open(std::uint32_t rank, int fd) {
  Sink& sink = fd == STDERR_FILENO && stderr_ ? *stderr_ : *stdout_;
  os::FdPair pipe = os::make_pipe();
  // Where the sink is broken the rank is to meet a pipe without a reader from its first write on.
  if (sink.broken()) return std::move(pipe.second);
  auto stream = std::make_unique<LabelledStream>(*this, sink, rank, std::move(pipe.first));
  stream->watch(true);
  streams_.emplace(stream.get(), std::move(stream));
  return std::move(pipe.second);
}

void Output::drain(std::function<void()> done) {
  drained_ = std::move(done);
  drain_some();
}

void Output::drop() {
  drained_ = nullptr;
  streams_.clear();
}

void Output::on_stream_ready(LabelledStream& stream) {
  if (stream.sink().blocked()) {
    stream.watch(false);
    return;
  }
  read_some(stream);
}

void Output::read_some(LabelledStream& stream) {
  Sink& sink = stream.sink();
  const ssize_t size = ::read(stream.fd(), buffer_.data(), buffer_.size());
  if (size > 0) {
    stream.feed({buffer_.data(), static_cast<std::size_t>(size)});
  } else if (size < 0 && (errno == EINTR || (errno == EAGAIN && !drained_))) {
    return;
  } else {
    stream.end();
    streams_.erase(&stream);
  }
  sink.flush();
  if (sink.broken()) close_streams_of(sink);
}

void Output::on_sink_ready(Sink& sink) {
  if (sink.broken()) close_streams_of(sink);
  if (drained_) {
    drain_some();
    return;
  }
  for (auto& [key, stream] : streams_) {
    if (&stream->sink() == &sink) stream->watch(true);
  }
}

void Output::close_streams_of(const Sink& sink) {
  std::erase_if(streams_, [&sink](const auto& entry) { return &entry.second->sink() == &sink; });
}

// One read a pipe a turn, so that the launcher's socket is still heard.
void Output::drain_some() {
  if (!drained_) return;
  std::vector<LabelledStream*> readable;
  for (auto& [key, stream] : streams_) {
    stream->watch(false);
    if (!stream->sink().blocked()) readable.push_back(key);
  }
  for (LabelledStream* stream : readable) {
    // A sink that broke or filled up meanwhile takes its streams out of this turn.
    if (streams_.contains(stream) && !stream->sink().blocked()) read_some(*stream);
  }
  if (streams_.empty() && !stdout_->blocked() && !(stderr_ && stderr_->blocked())) {
    std::exchange(drained_, nullptr)();
    return;
  }
  if (!readable.empty()) reactor_.post([this] { drain_some(); });
}

}  // namespace wireup::agent
