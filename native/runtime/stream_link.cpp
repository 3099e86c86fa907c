#include "runtime/stream_link.h"

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "os/error.h"
#include "runtime/link_version.h"
#include "runtime/words.h"

namespace wireup::runtime {
namespace {

// A pipe's default capacity.
constexpr std::size_t kReadSize = 64 << 10;

// In one turn, so that other fds get their share.
constexpr int kWritesPerTurn = 16;

// After a failed write, the peer's last bytes are read in so many turns at most: more than a pipe or socket
// holds. A peer that writes for ever does not hold up the end.
constexpr int kLastTurns = 16;

// Texts in one call of writev(2).
constexpr std::size_t kMaxVectors = 64;

constexpr std::string_view kConnection = "the connection failed";

}  // namespace

StreamLink::StreamLink(os::Reactor& reactor, os::UniqueFd in, os::UniqueFd out, StreamLinkOptions options,
                       LinkObserver& observer)
    : reactor_(reactor),
      observer_(observer),
      options_(std::move(options)),
      in_(*this, std::move(in), &StreamLink::on_readable),
      out_(*this, std::move(out), &StreamLink::on_writable),
      buffer_(kReadSize),
      framer_(options_.side == StreamLinkOptions::Side::parent ? kMaxNoise : 0, kMaxPacket),
      unsent_(options_.file_size),
      heartbeats_(reactor, options_.timing, *this) {
  try {
    os::set_nonblocking(in_.fd.get(), true);
    os::set_nonblocking(out_.fd.get(), true);
    reactor_.add(in_.fd.get(), EPOLLIN, in_);
    // epoll reports the end of the reader with any mask.
    reactor_.add(out_.fd.get(), 0, out_);
    if (options_.side == StreamLinkOptions::Side::child) {
      // The newline ends a line of noise.
      queue("\n" + wire::encode_greeting(own_greeting()));
      heartbeats_.watch();
    }
    write_some();
  } catch (...) {
    detach();
    throw;
  }
}

StreamLink::~StreamLink() { detach(); }

void StreamLink::detach() {
  if (std::exchange(detached_, true)) return;
  reactor_.remove(in_.fd.get(), in_);
  reactor_.remove(out_.fd.get(), out_);
  heartbeats_.stop();
  reactor_.cancel(failed_timer_);
  in_.fd.reset();
  out_.fd.reset();
}

void StreamLink::send(std::string packet, std::vector<os::UniqueFd> fds) {
  if (packet.empty() || packet.size() > kMaxPacket) throw os::OsError(EMSGSIZE, "write");
  if (!fds.empty()) throw os::OsError(EOPNOTSUPP, "write");
  if (detached_ || failed_ != 0) return;
  std::string frame = wire::encode_frame(std::move(packet));
  if (up_) {
    queue(std::move(frame));
    if (!watches_writable_) write_some();
  } else {
    unsent_ += frame.size();
    waiting_.push_back(std::move(frame));
  }
}

void StreamLink::hold(bool on) {
  if (on == held_ || detached_) return;
  held_ = on;
  heartbeats_.hold(on);
  // Removed, because epoll reports the end of the writer with any mask.
  if (on) return reactor_.remove(in_.fd.get(), in_);
  reactor_.add(in_.fd.get(), EPOLLIN, in_);
}

void StreamLink::queue(std::string bytes) {
  unsent_ += bytes.size();
  queue_.push_back(std::move(bytes));
}

// Puts the next part of the file into the queue. Returns false if there is none, or after a failure.
bool StreamLink::read_file() {
  if (options_.file_size == 0) return false;
  std::string part(std::min<std::uint64_t>(options_.file_size, kReadSize), '\0');
  const ssize_t size = ::read(options_.file.get(), part.data(), part.size());
  if (size <= 0) {
    // The file has become shorter if there is nothing to read.
    fail(size == 0 ? EIO : errno, "the program that is sent cannot be read");
    return false;
  }
  part.resize(static_cast<std::size_t>(size));
  options_.file_size -= part.size();
  if (options_.file_size == 0) options_.file.reset();
  queue_.push_back(std::move(part));  // counted from the beginning
  return true;
}

void StreamLink::write_some() {
  for (int i = 0; i < kWritesPerTurn; ++i) {
    if (queue_.empty() && !read_file()) break;
    std::array<iovec, kMaxVectors> vectors{};
    std::size_t count = 0;
    for (std::size_t skipped = sent_; std::string & bytes : queue_) {
      if (count == kMaxVectors) break;
      vectors[count++] = {bytes.data() + skipped, bytes.size() - skipped};
      skipped = 0;
    }
    const ssize_t written = ::writev(out_.fd.get(), vectors.data(), static_cast<int>(count));
    if (written >= 0) {
      taken(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      fail(errno, std::string(kConnection));
    }
  }
  if (failed_ == 0) watch_writable(!queue_.empty() || options_.file_size > 0);
}

void StreamLink::write_waiting() {
  const std::size_t before = unsent_;
  write_some();
  if (failed_ == 0 && unsent_ < before) observer_.on_link_taken();
}

void StreamLink::taken(std::size_t size) {
  heartbeats_.sent();
  unsent_ -= size;
  sent_ += size;
  while (!queue_.empty() && sent_ >= queue_.front().size()) {
    sent_ -= queue_.front().size();
    queue_.pop_front();
  }
}

void StreamLink::watch_writable(bool on) {
  if (on == watches_writable_) return;
  watches_writable_ = on;
  reactor_.modify(out_.fd.get(), on ? std::uint32_t{EPOLLOUT} : 0U, out_);
}

void StreamLink::on_writable(std::uint32_t events) {
  if (failed_ != 0) return;
  if ((events & EPOLLOUT) != 0) write_waiting();
  if (failed_ == 0 && (events & (EPOLLERR | EPOLLHUP)) != 0) fail(EPIPE, {});
}

void StreamLink::on_readable(std::uint32_t) {
  if (failed_ == 0) receive(kReadsPerTurn);
}

StreamLink::Stop StreamLink::receive(int reads) {
  const os::Lifetime::Watch watch(lifetime_);
  for (int i = 0; i < reads && !held_; ++i) {
    const ssize_t size = ::read(in_.fd.get(), buffer_.data(), buffer_.size());
    if (size > 0) {
      heartbeats_.received();
      if (!parse({buffer_.data(), static_cast<std::size_t>(size)})) return Stop::gone;
      // There was no more. epoll reports what comes now.
      if (static_cast<std::size_t>(size) < buffer_.size()) return Stop::drained;
    } else if (size == 0) {
      end_by(0, {});
      return Stop::gone;
    } else if (errno == EAGAIN) {
      return Stop::drained;
    } else if (errno != EINTR) {
      end_by(errno, std::string(kConnection));
      return Stop::gone;
    }
  }
  return Stop::budget;
}

// Returns false after the end.
bool StreamLink::parse(std::string_view bytes) {
  const os::Lifetime::Watch watch(lifetime_);
  for (;;) {
    std::string_view packet;
    switch (framer_.next(bytes, packet)) {
      case wire::LinkFramer::Result::more:
        return true;
      case wire::LinkFramer::Result::greeting:
        if (!on_greeting()) return false;
        break;
      case wire::LinkFramer::Result::packet:
        observer_.on_link_packet(packet, std::vector<os::UniqueFd>());
        if (watch.gone()) return false;
        break;
      case wire::LinkFramer::Result::invalid:
        if (framer_.greeting()) {
          end(LinkEnd::invalid, 0, "the peer sent an invalid packet");
        } else {
          const bool parent = options_.side == StreamLinkOptions::Side::parent;
          const std::string what = parent ? "its output is not wireup-agent's: " : "no agent has answered: ";
          end(LinkEnd::invalid, 0, what + last_lines(framer_.noise()));
        }
        return false;
    }
  }
}

bool StreamLink::on_greeting() {
  const os::Lifetime::Watch watch(lifetime_);
  if (options_.side == StreamLinkOptions::Side::parent) {
    if (options_.file_size > 0 || !queue_.empty()) {
      end(LinkEnd::invalid, 0, "it answered before it had read the program that was sent to it");
      return false;
    }
    if (failed_ == 0) queue(wire::encode_greeting(own_greeting()));
  }
  const wire::LinkGreeting& there = *framer_.greeting();
  if (there.protocol != own_greeting().protocol) {
    // The peer gets the reply, and so knows why the link ends.
    if (failed_ == 0) write_some();
    end(LinkEnd::version, 0, other_version(there));
    return false;
  }
  up_ = true;
  if (failed_ == 0) std::ranges::move(std::exchange(waiting_, {}), std::back_inserter(queue_));
  // Before the peer gets the reply, so that what the peer does then comes after on_up().
  if (const auto on_up = std::exchange(options_.on_up, nullptr)) on_up();
  if (watch.gone()) return false;
  if (failed_ == 0) write_waiting();
  if (options_.side == StreamLinkOptions::Side::parent) heartbeats_.watch();
  heartbeats_.start();
  return true;
}

void StreamLink::on_heartbeat_due() {
  if (!queue_.empty() || failed_ != 0) return;
  queue(std::string(wire::kHeartbeat));
  write_some();
}

void StreamLink::on_silence() { end(LinkEnd::silent, 0, silence_in_words(options_.timing)); }

// First delivers what the peer has sent.
void StreamLink::fail(int error, std::string what) {
  failed_ = error;
  what_failed_ = std::move(what);
  drop_queue();
  hold(false);
  watches_writable_ = false;
  reactor_.remove(out_.fd.get(), out_);
  failed_timer_ = reactor_.after({}, [this] { finish_failed(kLastTurns); });
}

void StreamLink::finish_failed(int turns) {
  failed_timer_ = 0;
  const Stop stop = receive(kReadsPerTurn);
  if (stop == Stop::gone) return;
  if (stop == Stop::drained || turns == 0) return end_by(failed_, what_failed_);
  failed_timer_ = reactor_.after({}, [this, turns] { finish_failed(turns - 1); });
}

// EPIPE and ECONNRESET: the peer has closed the link without reading all of it.
void StreamLink::end_by(int error, const std::string& what) {
  if (error == 0 || error == EPIPE || error == ECONNRESET) {
    return end(LinkEnd::closed, 0, "the peer closed the connection");
  }
  end(LinkEnd::failed, error, what + ": " + std::generic_category().message(error));
}

void StreamLink::end(LinkEnd why, int error, const std::string& detail) {
  detach();
  drop_queue();
  observer_.on_link_end(why, error, detail);
}

void StreamLink::drop_queue() {
  queue_.clear();
  waiting_.clear();
  sent_ = 0;
  unsent_ = 0;
  options_.file_size = 0;
}

}  // namespace wireup::runtime
