// The launcher's end of the agent of its own host: a child process, and the link that carries the messages of
// wire/agent_messages.h of all hosts. An agent may be started ahead of its launch; it then waits for its
// first message. An agent that a signal has stopped would hold up every rank, so it is killed.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/inherited_context.h"
#include "os/reactor.h"
#include "runtime/child_process.h"
#include "runtime/link.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

struct AgentOptions {
  std::string path;  // of wireup-agent
  // The agent's environment: a copy of the calling process's, made on the JavaScript thread, which may change
  // the original (setenv) while the reactor thread runs.
  std::vector<std::string> environment;
  os::InheritedContext inherited_context;  // of the calling process when the agent was asked for
  int out = -1;                            // the agent's stdout and stderr; -1: those of the calling process
  int err = -1;
};

// None of the methods may destroy the link.
class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  // `host`: the number of the host that the message is from.
  virtual void on_agent_message(std::uint32_t host, wire::agent::Message& message) = 0;
  // No more messages come: the agent hung up (`error` is 0), or the link failed (errno; EPROTO: a message was
  // malformed).
  virtual void on_agent_silent(int error) = 0;
  // The agent's process has ended. `fault` is empty after an orderly end; otherwise it says how, for people.
  virtual void on_agent_exit(const std::string& fault) = 0;
};

class AgentLink final : LinkObserver {
 public:
  // Starts the agent. Throws os::OsError or std::bad_alloc; then no agent is left.
  AgentLink(os::Reactor& reactor, Reaper& reaper, const AgentOptions& options);
  // Hangs up, and hands the agent's process to the reaper. An agent that has started no rank has 2 seconds to
  // end by itself, since it may have made things that it removes; any other is killed at once.
  ~AgentLink() override;
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;

  // Sets the observer. Called before the first send(). Without an observer nothing is reported.
  void observe(AgentObserver* observer) { observer_ = observer; }
  // To the agent of `host`, or to every agent (kEveryHost). Sends nothing once the agent is silent.
  void send(std::uint32_t host, const wire::agent::Message& message, std::vector<os::UniqueFd> fds = {});
  // Closes the link. The agent then ends every process of the job, and itself. Returns false if the agent was
  // silent already.
  bool hang_up();
  bool alive() const { return process_ && link_; }
  // The process has ended and all its messages have been delivered.
  bool gone() const { return !process_ && !link_; }

 private:
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_link_end(LinkEnd why, int error, const std::string& detail) override;
  void end(int error);
  void exited(const os::ExitStatus& status);
  void watch();

  os::Reactor& reactor_;
  AgentObserver* observer_ = nullptr;
  std::unique_ptr<ChildProcess> process_;
  std::unique_ptr<Link> link_;
  os::Reactor::TimerId watch_ = 0;
  bool stopped_ = false;  // at the last check
  bool has_ranks_ = false;
};

}  // namespace wireup::runtime
