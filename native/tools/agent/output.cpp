#include "tools/agent/output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "os/error.h"

namespace wireup::agent {
namespace {

using wire::agent::OutputMode;

// For people.
constexpr const char* kTaskPipes = "the pipes of ranks";

}  // namespace

Output::Output(os::Reactor& reactor, const wire::agent::Hello& plans, HostMessages& hosts,
               OutputObserver& observer)
    : reactor_(reactor),
      hosts_(hosts),
      observer_(observer),
      own_host_(plans.host == wire::agent::kOwnHost),
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
  if (!sink) sink = make_joined(fd);
  if (own_host_ && fd == STDERR_FILENO) terminal_ = static_cast<FdSink*>(sink.get());
  return sink;
}

std::shared_ptr<Sink> Output::make_joined(int fd) {
  if (!own_host_) return make_link(static_cast<std::uint32_t>(fd), -1, !label_.empty());
  const std::shared_ptr<Sink>& other = fd == STDERR_FILENO ? stdout_ : stderr_;
  if (other && same_stream(STDOUT_FILENO, STDERR_FILENO)) return other;
  return std::make_shared<FdSink>(reactor_, fd, fd == STDERR_FILENO ? "stderr" : "stdout", !label_.empty(),
                                  static_cast<SinkObserver&>(*this));
}

std::shared_ptr<Sink> Output::make_link(std::uint32_t stream, std::int64_t task, bool labelled) {
  auto sink = std::make_shared<LinkSink>(hosts_, stream, task, labelled, static_cast<SinkObserver&>(*this));
  links_[{stream, task}] = sink;
  return sink;
}

Output::~Output() {
  reactor_.cancel(partial_timer_);
  reactor_.cancel(credit_timer_);
}

const wire::agent::OutputPlan& Output::plan(int fd) const { return fd == STDERR_FILENO ? err_ : out_; }

os::UniqueFd Output::open(const RankNames& names, int fd) {
  if (plan(fd).mode == OutputMode::file) return open_file(names, plan(fd).file);
  return open_stream(names, joined(fd));
}

os::UniqueFd Output::open_task(std::uint32_t task, int fd) {
  os::FdPair pipe = os::make_pipe();
  add(std::make_unique<PipeStream>(reactor_, static_cast<PipeStreamOwner&>(*this),
                                   make_link(static_cast<std::uint32_t>(fd), task, false),
                                   std::move(pipe.first)))
      .watch(true);
  return std::move(pipe.second);
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
      std::make_shared<FdSink>(reactor_, std::move(file), name, true, static_cast<SinkObserver&>(*this));
  if (stays) file_sinks_.emplace(name, sink);
  return open_stream(names, std::move(sink));
}

os::UniqueFd Output::open_stream(const RankNames& names, std::shared_ptr<Sink> sink) {
  os::FdPair pipe = os::make_pipe();
  // If the sink is broken, the rank gets a pipe without a reader.
  if (sink->broken()) return std::move(pipe.second);
  add(std::make_unique<PipeStream>(reactor_, static_cast<PipeStreamOwner&>(*this), std::move(sink),
                                   std::move(pipe.first), names.group == 0 ? label_ : spawned_label_, names))
      .watch(true);
  return std::move(pipe.second);
}

OutputStream& Output::add(std::unique_ptr<OutputStream> stream) {
  OutputStream& added = *stream;
  streams_.emplace(&added, std::move(stream));
  return added;
}

void Output::show_status(std::string_view line) {
  if (terminal_ != nullptr) terminal_->show_status(line);
}

void Output::drain(std::function<void()> done) {
  drained_ = std::move(done);
  drain_some();
}

void Output::drop() {
  dropped_ = true;
  drained_ = nullptr;
  partial_.clear();
  waiting_.clear();
  lanes_.clear();
  streams_.clear();
  for (const auto& sink : {stdout_, stderr_}) {
    if (sink) sink->drop();
  }
  for (const auto& [name, sink] : file_sinks_) sink->drop();
  for (const auto& [key, sink] : links_) sink->drop();
}

const char* Output::handle(std::uint32_t host, wire::agent::Output output) {
  if (!own_host_) return "is not for this host";
  if (dropped_) return nullptr;
  const Lane lane{host, output.stream, output.task};
  if (!lanes_.contains(lane)) {
    if (lane.task >= 0) return "is output of a task without a pipe";
    if (lane.stream != STDOUT_FILENO && lane.stream != STDERR_FILENO) return "is output of an unknown stream";
    const int fd = static_cast<int>(lane.stream);
    const OutputMode mode = plan(fd).mode;
    if (mode != OutputMode::inherit && mode != OutputMode::merge) return "is output that is not for host 0";
    if (const auto sink = joined(fd); sink->broken()) {
      close_lane(lane, sink->error());
    } else {
      add_lane(lane, sink);
    }
  }
  HostStream* const stream = lanes_[lane];
  // It was sent before the host received CloseOutput.
  if (stream == nullptr) return nullptr;
  if (!stream->push(std::move(output))) return "is output without credit, or ends no line";
  read_pushed(*stream);
  return nullptr;
}

const char* Output::handle(const wire::agent::TaskPipes& pipes,
                           std::optional<std::vector<os::UniqueFd>> fds) {
  if (!own_host_ || pipes.host == wire::agent::kOwnHost) return "is not for this host";
  if (pipes.stream != STDOUT_FILENO && pipes.stream != STDERR_FILENO) return "names an unknown stream";
  if (fds && fds->size() != pipes.tasks.size()) return "has not the fds that it names";
  for (std::size_t i = 0; i < pipes.tasks.size(); ++i) {
    const Lane lane{pipes.host, pipes.stream, pipes.tasks[i]};
    if (lanes_.contains(lane)) return "names a pipe twice";
    if (!fds) {
      close_lane(lane, EMFILE);
      continue;
    }
    add_lane(lane, std::make_shared<FdSink>(reactor_, std::move((*fds)[i]), std::string(), false,
                                            static_cast<SinkObserver&>(*this)));
  }
  if (!fds && lost_.insert(kTaskPipes).second) observer_.on_output_lost(EMFILE, kTaskPipes);
  return nullptr;
}

void Output::add_lane(const Lane& lane, std::shared_ptr<Sink> sink) {
  auto stream = std::make_unique<HostStream>(static_cast<HostStreamOwner&>(*this), std::move(sink), lane);
  lanes_[lane] = stream.get();
  add(std::move(stream));
}

void Output::lose_host(std::uint32_t host) {
  std::vector<HostStream*> lost;
  for (const auto& [lane, stream] : lanes_) {
    if (lane.host == host && stream != nullptr) lost.push_back(stream);
  }
  for (HostStream* const stream : lost) {
    // One before it may have shown that the sink is broken, which ends all its streams.
    if (!streams_.contains(stream)) continue;
    stream->push_end();
    read_pushed(*stream);
  }
  std::erase_if(lanes_, [host](const auto& entry) { return entry.first.host == host && !entry.second; });
}

std::set<std::uint32_t> Output::hosts_that_wait() const {
  std::set<std::uint32_t> hosts;
  for (const auto& [lane, stream] : lanes_) {
    if (stream != nullptr && stream->is_behind()) hosts.insert(lane.host);
  }
  return hosts;
}

const char* Output::handle(const wire::agent::Credit& credit) {
  const auto link = links_.find({credit.stream, credit.task});
  if (link == links_.end()) return "acknowledges an unknown stream";
  return link->second->acknowledge(credit.bytes) ? nullptr : "acknowledges more than was sent";
}

const char* Output::handle(const wire::agent::CloseOutput& close) {
  const auto link = links_.find({close.stream, close.task});
  if (link == links_.end() || close.error == 0) return "closes an unknown stream";
  link->second->refuse(close.error);
  return nullptr;
}

void Output::on_stream_credit(const Lane& lane) {
  owed_.insert(lane);
  // In the next turn, together with what else is written in this one.
  if (credit_timer_ != 0) return;
  credit_timer_ = reactor_.after(os::Reactor::Clock::duration::zero(), [this] { send_credits(); });
}

void Output::send_credits() {
  credit_timer_ = 0;
  for (const Lane& lane : std::exchange(owed_, {})) {
    const auto entry = lanes_.find(lane);
    if (entry != lanes_.end() && entry->second != nullptr) send_credit(*entry->second);
  }
}

void Output::send_credit(HostStream& stream) {
  const Lane& lane = *stream.lane();
  const std::uint32_t bytes = stream.take_credit();
  if (bytes > 0) hosts_.send_to(lane.host, wire::agent::Credit{lane.stream, lane.task, bytes});
}

void Output::close_lane(const Lane& lane, int error) {
  lanes_[lane] = nullptr;
  hosts_.send_to(lane.host, wire::agent::CloseOutput{lane.stream, lane.task, error});
}

void Output::on_stream_ready(OutputStream& stream) {
  if (may_read(stream)) read_some(stream);
}

bool Output::may_read(OutputStream& stream) {
  const Sink& sink = *stream.sink();
  if (!sink.blocked() && !sink.held_from(stream)) return true;
  wait(stream);
  return false;
}

void Output::wait(OutputStream& stream) {
  stream.watch(false);
  if (!std::exchange(stream.waiting, true)) waiting_[stream.sink().get()].push_back(&stream);
}

void Output::read_some(OutputStream& stream) {
  // The stream may be destroyed, and with it the last reference to its sink.
  const std::shared_ptr<Sink> sink = stream.sink();
  switch (stream.read(buffer_, drained_ != nullptr)) {
    case OutputStream::Result::nothing:
      return;
    case OutputStream::Result::lines:
      partial_.erase(&stream);
      break;
    case OutputStream::Result::in_line:
      expect_rest(stream);
      break;
    case OutputStream::Result::end:
      end(stream);
      break;
  }
  written(sink);
}

void Output::read_pushed(HostStream& stream) {
  if (drained_) return reactor_.post([this] { drain_some(); });
  if (stream.waiting) return;
  while (streams_.contains(&stream) && stream.has_more() && may_read(stream)) read_some(stream);
}

void Output::written(const std::shared_ptr<Sink>& sink) {
  if (sink.get() == terminal_ && terminal_->printed() && !std::exchange(reported_printed_, true))
    observer_.on_printed();
  sink->flush();
  if (sink->broken()) {
    close_streams_of(*sink);
  } else {
    serve_waiting(*sink);
  }
}

void Output::on_sink_ready(Sink& sink) {
  // Its last stream may end.
  const std::shared_ptr<Sink> keep = sink.shared_from_this();
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
    if (!streams_.contains(stream)) continue;
    if (stream->has_more()) {
      wait(*stream);
    } else if (may_read(*stream)) {
      stream->watch(true);
    }
  }
  serving_ = false;
}

void Output::end(OutputStream& stream) {
  stream.end();
  partial_.erase(&stream);
  if (stream.waiting) {
    const auto entry = waiting_.find(stream.sink().get());
    if (entry != waiting_.end()) std::erase(entry->second, &stream);
  }
  if (const Lane* const lane = stream.lane(); lane != nullptr) {
    send_credit(static_cast<HostStream&>(stream));
    lanes_.erase(*lane);
  }
  streams_.erase(&stream);
}

void Output::close_streams_of(const Sink& sink) {
  std::erase_if(streams_, [&](const auto& entry) {
    if (entry.second->sink().get() != &sink) return false;
    partial_.erase(entry.first);
    if (const Lane* const lane = entry.second->lane(); lane != nullptr) close_lane(*lane, sink.error());
    return true;
  });
  waiting_.erase(&sink);
  if (sink.name().empty() || !lost_.insert(sink.name()).second) return;
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
  if (drained_) drain_some();
}

// Reads each pipe once a turn, so that the launcher's socket is served too.
void Output::drain_some() {
  if (!drained_) return;
  std::vector<OutputStream*> readable;
  for (auto& [key, stream] : streams_) {
    stream->watch(false);
    const bool idle = stream->lane() != nullptr && !stream->has_more();
    if (!idle && !stream->sink()->blocked() && !stream->sink()->held_from(*stream)) readable.push_back(key);
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
  const auto done = [](const auto& sink) { return !sink || sink->done(); };
  const auto all_done = [](const auto& sinks) {
    return std::ranges::all_of(sinks, [](const auto& entry) { return entry.second->done(); });
  };
  // A stream of another host may go on.
  const bool read = std::ranges::all_of(
      streams_, [](const auto& entry) { return entry.first->lane() != nullptr && !entry.first->has_more(); });
  return read && done(stdout_) && done(stderr_) && all_done(file_sinks_) && all_done(links_);
}

}  // namespace wireup::agent
