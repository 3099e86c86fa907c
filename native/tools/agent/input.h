// Copies the launcher's stdin to every rank of this host that reads it. On host 0 it comes from the agent's
// stdin (StdinInput), which also sends it to other hosts; there it comes from host 0 (LinkInput). It ends
// when stdin ends, or all these ranks have ended.
//
// A host takes the next bytes only when every rank's pipe has taken all bytes, so its slowest rank sets the
// pace. Host 0 reads on only when each other host also has room for the bytes: kMaxUnacknowledged without
// Credit. So the slowest rank of all hosts sets the pace, and the writer of stdin waits. A rank that closes
// its stdin, or ends, no longer counts, nor does a host without readers.
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "os/buffer.h"
#include "os/fd.h"
#include "os/reactor.h"
#include "tools/agent/host_messages.h"
#include "tools/agent/stdio.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Input {
 public:
  virtual ~Input() = default;
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // One of the announced readers: `pipe` is the write end of the task's stdin.
  void add(std::uint32_t task, os::UniqueFd pipe);
  // The task could not be started.
  void give_up(std::uint32_t task);
  // The task has ended.
  void remove(std::uint32_t task);

  // Messages of other hosts to host 0, and of host 0 to another host. Each returns what is wrong with the
  // message, or nullptr.
  virtual const char* handle(std::uint32_t host, const wire::agent::InputReaders& readers) = 0;
  virtual const char* handle(std::uint32_t host, const wire::agent::Credit& credit) = 0;
  virtual const char* handle(const wire::agent::Input& input) = 0;
  virtual void lose_host(std::uint32_t host) = 0;

 protected:
  // Copies nothing before add() or give_up() has been called for `readers` ranks.
  Input(os::Reactor& reactor, std::uint32_t readers) : reactor_(reactor), expected_(readers) {}

  // Whether other hosts have readers.
  virtual bool has_other_readers() const { return false; }
  // All ranks of this host have started. Called again after each change. `ready`: they have taken everything
  // and have room.
  virtual void on_readers(bool ready) = 0;
  // There is no reader, or stdin has ended.
  virtual void on_stop() = 0;

  void go_on();
  // Writes to all ranks. `bytes` must stay as it is until on_readers(true).
  void write_to_ranks(std::string_view bytes);
  // Closes the ranks' stdin.
  void stop();
  bool stopped() const { return stopped_; }

  os::Reactor& reactor_;

 private:
  struct Pipe final : os::Handler {
    Pipe(Input& owner, std::uint32_t number, os::UniqueFd write_end);
    ~Pipe() override;
    void on_ready(std::uint32_t events) override { input.on_pipe_ready(*this, events); }
    // Writes the rest. Returns false if the reader has gone.
    bool write_rest();
    // Whether it has taken everything and has room.
    bool ready();

    Input& input;
    std::uint32_t task;
    os::UniqueFd fd;
    std::string_view rest;  // not yet written
    std::uint32_t watched = 0;
  };

  void on_pipe_ready(Pipe& pipe, std::uint32_t events);
  void expected_one();

  std::uint32_t expected_;
  std::unordered_map<std::uint32_t, std::unique_ptr<Pipe>> pipes_;
  bool stopped_ = false;
};

// On host 0. Reading a terminal fails with EIO while this POSIX process group is not in its foreground. Then
// the ranks' stdin stays open, and the agent tries again from time to time, because the kernel sends no event
// when a running POSIX process group comes to the foreground.
class StdinInput final : public Input {
 public:
  // `readers`: on this host. `others`: the other hosts with readers.
  StdinInput(os::Reactor& reactor, std::uint32_t readers, const std::vector<std::uint32_t>& others,
             HostMessages& hosts);
  ~StdinInput() override;

  const char* handle(std::uint32_t host, const wire::agent::InputReaders& readers) override;
  const char* handle(std::uint32_t host, const wire::agent::Credit& credit) override;
  const char* handle(const wire::agent::Input& input) override;
  void lose_host(std::uint32_t host) override;

 private:
  struct Source final : os::Handler {
    explicit Source(StdinInput& owner) : input(owner) {}
    void on_ready(std::uint32_t) override { input.copy_some(); }
    StdinInput& input;
  };
  struct Host {
    bool started = false;
    std::size_t unacknowledged = 0;
  };

  bool has_other_readers() const override { return !others_.empty(); }
  void on_readers(bool ready) override;
  void on_stop() override;
  void copy_some();
  void watch_source(bool on);

  HostMessages& hosts_;
  Source source_{*this};
  Stdio in_;
  std::map<std::uint32_t, Host> others_;  // with readers, by number
  os::Buffer buffer_;
  bool source_watched_ = false;
  bool always_ready_ = false;  // a regular file, or a device that cannot be polled
  os::Reactor::TimerId retry_ = 0;
};

// On another host.
class LinkInput final : public Input {
 public:
  LinkInput(os::Reactor& reactor, std::uint32_t readers, HostMessages& hosts);

  const char* handle(std::uint32_t host, const wire::agent::InputReaders& readers) override;
  const char* handle(std::uint32_t host, const wire::agent::Credit& credit) override;
  const char* handle(const wire::agent::Input& input) override;
  void lose_host(std::uint32_t) override {}

 private:
  void on_readers(bool ready) override;
  void on_stop() override;

  HostMessages& hosts_;
  bool announced_ = false;  // host 0 knows that the readers have started
  bool ended_ = false;
  std::string writing_;  // what the ranks have not yet all taken
  std::string queue_;    // what comes after it
};

// The one of this host; null if it has nothing to do.
std::unique_ptr<Input> make_input(os::Reactor& reactor, const wire::agent::Hello& hello, HostMessages& hosts);

}  // namespace wireup::agent
