// A link over a byte stream: two pipes, or a socket. wire/link_framer.h describes the bytes.
//
// The child sends its greeting at once. The parent waits for it without a time limit, skips the noise before
// it, and replies. Then the link is up. Packets that were sent before are queued until then. From then on
// both sides send heartbeats, and the link ends if the peer is silent (runtime/heartbeats.h). The child waits
// for the parent's reply only so long, too.
//
// The calling process ignores SIGPIPE. Threads: the reactor's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/lifetime.h"
#include "os/reactor.h"
#include "runtime/heartbeats.h"
#include "runtime/link.h"
#include "wire/link_framer.h"

namespace wireup::runtime {

// How much text may precede the greeting, in bytes.
inline constexpr std::size_t kMaxNoise = 64 << 10;

struct StreamLinkOptions {
  enum class Side : std::uint8_t { parent, child };
  Side side = Side::parent;
  LinkTiming timing = {};
  // The parent's first bytes, before its reply: the first `file_size` bytes of a regular file. A child that
  // answers before it can have read them is invalid.
  os::UniqueFd file = {};
  std::uint64_t file_size = 0;
  // Called once, when the link is up. It may destroy the link.
  std::function<void()> on_up = nullptr;
};

class StreamLink final : public Link, HeartbeatObserver {
 public:
  // For a socket, one of the fds is a duplicate of the other. Throws OsError (EPERM: a regular file or
  // /dev/null).
  //
  // The constructor sets O_NONBLOCK for the open files, also if they are an inherited stdin and stdout that
  // other processes share, for example the shell that sshd has started. Those processes cannot use them
  // beside the link anyhow: their bytes would corrupt it.
  StreamLink(os::Reactor& reactor, os::UniqueFd in, os::UniqueFd out, StreamLinkOptions options,
             LinkObserver& observer);
  ~StreamLink() override;
  StreamLink(const StreamLink&) = delete;
  StreamLink& operator=(const StreamLink&) = delete;

  void send(std::string packet, std::vector<os::UniqueFd> fds = {}) override;
  bool carries_fds() const override { return false; }
  std::size_t unsent() const override { return unsent_; }
  bool up() const { return up_; }
  // Stops reading, so that the peer has to wait, or reads on. Its silence does not count meanwhile.
  void hold(bool on);
  // The text that came before the greeting.
  const std::string& noise() const { return framer_.noise(); }

 private:
  // In one turn, so that other fds get their share.
  static constexpr int kReadsPerTurn = 8;
  enum class Stop : std::uint8_t { drained, budget, gone };
  struct Direction final : os::Handler {
    using Method = void (StreamLink::*)(std::uint32_t);
    Direction(StreamLink& its_link, os::UniqueFd its_fd, Method its_method)
        : link(its_link), fd(std::move(its_fd)), method(its_method) {}
    void on_ready(std::uint32_t events) override { (link.*method)(events); }
    StreamLink& link;
    os::UniqueFd fd;
    Method method;
  };

  void on_readable(std::uint32_t events);
  void on_writable(std::uint32_t events);
  Stop receive(int reads);
  bool parse(std::string_view bytes);
  bool on_greeting();
  void queue(std::string bytes);
  bool read_file();
  void write_some();
  void write_waiting();
  void taken(std::size_t size);
  void watch_writable(bool on);
  void on_heartbeat_due() override;
  void receive_now() override { receive(kReadsPerTurn); }
  void on_silence() override;
  void finish_failed(int turns);
  void fail(int error, std::string what);
  void end_by(int error, const std::string& what);
  void end(LinkEnd why, int error, const std::string& detail);
  void drop_queue();
  void detach();

  os::Reactor& reactor_;
  LinkObserver& observer_;
  os::Lifetime lifetime_;
  StreamLinkOptions options_;
  Direction in_;
  Direction out_;
  os::Buffer buffer_;
  wire::LinkFramer framer_;
  std::deque<std::string> queue_;
  std::deque<std::string> waiting_;  // packets, until the link is up
  std::size_t sent_ = 0;             // of queue_.front()
  std::size_t unsent_ = 0;
  bool watches_writable_ = false;
  bool held_ = false;
  bool up_ = false;
  int failed_ = 0;  // errno of writing or of reading the file; the end is due
  std::string what_failed_;
  bool detached_ = false;
  Heartbeats heartbeats_;
  os::Reactor::TimerId failed_timer_ = 0;
};

}  // namespace wireup::runtime
