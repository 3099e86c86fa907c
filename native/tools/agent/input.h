// Copies the agent's stdin to every rank that reads it, until stdin ends or all these ranks have ended. It
// reads on only when every rank's pipe has taken all bytes, so the slowest rank sets the pace, and the writer
// of stdin waits. A rank that closes its stdin, or ends, no longer counts.
//
// The end of stdin closes the ranks' stdin. Reading a terminal fails with EIO while this POSIX process group
// is not in its foreground. Then the ranks' stdin stays open, and the agent tries again from time to time,
// because the kernel sends no event when a running POSIX process group comes to the foreground.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class Input final {
 public:
  // Reads nothing before add() or give_up() has been called for `readers` ranks.
  Input(os::Reactor& reactor, std::uint32_t readers);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // `pipe` is the write end of the task's stdin.
  void add(std::uint32_t task, os::UniqueFd pipe);
  // The task could not be started.
  void give_up(std::uint32_t task);
  // The task has ended.
  void remove(std::uint32_t task);
  void stop();

 private:
  struct Source final : os::Handler {
    explicit Source(Input& owner) : input(owner) {}
    void on_ready(std::uint32_t) override { input.copy_some(); }
    Input& input;
  };
  struct Pipe final : os::Handler {
    Pipe(Input& owner, std::uint32_t number, os::UniqueFd write_end);
    ~Pipe() override;
    void on_ready(std::uint32_t events) override { input.on_pipe_ready(*this, events); }
    // Writes the rest of the last read. Returns false if the reader has gone.
    bool write_rest();
    // Whether it has taken everything and has room.
    bool ready();

    Input& input;
    std::uint32_t task;
    os::UniqueFd fd;
    std::string_view rest;  // in buffer_, not yet written
    std::uint32_t watched = 0;
  };

  void on_pipe_ready(Pipe& pipe, std::uint32_t events);
  void expected_one();
  // Reads on if all pipes are ready, else waits for the others.
  void go_on();
  void copy_some();
  void watch_source(bool on);

  os::Reactor& reactor_;
  Source source_{*this};
  Stdio in_;
  std::uint32_t expected_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Pipe>> pipes_;
  os::Buffer buffer_;
  bool source_watched_ = false;
  bool always_ready_ = false;  // a regular file, or a device that cannot be polled
  bool ended_ = false;
  os::Reactor::TimerId retry_ = 0;
};

}  // namespace wireup::agent
