// Carries the agent's stdin to one rank's, until either ends. Reads only while the rank's pipe has room, so
// that what the rank does not read stays with whoever writes it.
//
// The end of the input closes the rank's stdin. A terminal whose foreground belongs to somebody else cannot
// be read (EIO): the rank's stdin stays open meanwhile, and we look again from time to time, since the kernel
// tells nobody when a running process group comes to the foreground.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/stdio.h"

namespace wireup::agent {

class Input final {
 public:
  // `pipe` is the write end of the rank's stdin.
  Input(os::Reactor& reactor, os::UniqueFd pipe);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  struct Source final : os::Handler {
    explicit Source(Input& owner) : input(owner) {}
    void on_ready(std::uint32_t) override { input.on_source_ready(); }
    Input& input;
  };
  struct Pipe final : os::Handler {
    explicit Pipe(Input& owner) : input(owner) {}
    void on_ready(std::uint32_t events) override { input.on_pipe_ready(events); }
    Input& input;
  };

  void on_source_ready();
  void on_pipe_ready(std::uint32_t events);
  void wait_for_input();
  void wait_for_room();
  void watch_source(bool on);
  void copy_some();
  // Writes what was read before; false when the pipe is full or gone.
  bool write_rest();
  void stop();

  os::Reactor& reactor_;
  Source source_{*this};
  Pipe pipe_{*this};
  Stdio in_;
  os::UniqueFd pipe_fd_;  // empty once the pump has stopped
  std::vector<char> buffer_;
  std::string_view rest_;  // of buffer_, not yet in the pipe
  bool source_watched_ = false;
  bool always_ready_ = false;  // a regular file, or a device that cannot be polled: driven by the pipe's room
  os::Reactor::TimerId retry_ = 0;
};

}  // namespace wireup::agent
