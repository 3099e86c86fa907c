// Carries the agent's stdin to the ranks that read it, each of which gets all of it, until it or all of them
// end. Reads only when every process's pipe has taken what was read before: the slowest sets the pace, and
// what is not read stays with whoever writes it. A process that closes its stdin, or ends, is waited for no
// more.
//
// The end of the input closes the ranks' stdin. A terminal whose foreground belongs to somebody else cannot
// be read (EIO): their stdin stays open meanwhile, and we look again from time to time, since the kernel
// tells nobody when a running process group comes to the foreground.
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
  // Nothing is read until `readers` ranks have been added or given up.
  Input(os::Reactor& reactor, std::uint32_t readers);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // `pipe` is the write end of the process's stdin.
  void add(std::uint32_t task, os::UniqueFd pipe);
  // It could not be started.
  void give_up(std::uint32_t task);
  // It has ended.
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
    // Writes what was read last; false when the reader has gone.
    bool write_rest();
    // Whether it has taken all of it, and would take more.
    bool ready();

    Input& input;
    std::uint32_t task;
    os::UniqueFd fd;
    std::string_view rest;  // of the buffer
    std::uint32_t watched = 0;
  };

  void on_pipe_ready(Pipe& pipe, std::uint32_t events);
  void expected_one();
  // Reads on when all pipes are ready, otherwise waits for those that are not.
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
