// The agent of a launch as its owner has it: a child process, and the socket by which both talk
// (wire/agent_messages.h). It may be started ahead of its launch, and then waits for its first message. One
// that a signal has stopped holds every rank up, and is killed.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "os/inherited_context.h"
#include "os/message_socket.h"
#include "os/reactor.h"
#include "runtime/child_process.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

struct AgentOptions {
  std::string path;  // of wireup-agent
  // The agent's own, copied from the owner's on the owner's thread, which may change it (setenv) while the
  // reactor's runs.
  std::vector<std::string> environment;
  os::InheritedContext inherited_context;  // the owner's, where it was asked for
  int out = -1;                            // its stdout and stderr; -1: ours
  int err = -1;
};

// None of these may destroy the link.
class AgentObserver {
 public:
  virtual ~AgentObserver() = default;
  virtual void on_agent_message(wire::agent::Message& message) = 0;
  // No more messages come: it has hung up (0), or `error` (errno; EPROTO: it spoke nonsense).
  virtual void on_agent_silent(int error) = 0;
  // Its process has ended. Empty: in good order; otherwise how, for people.
  virtual void on_agent_exit(const std::string& fault) = 0;
};

class AgentLink final : os::MessageSocketObserver {
 public:
  // Starts it. Throws os::OsError.
  AgentLink(os::Reactor& reactor, const AgentOptions& options);
  // Hangs up, kills it and waits for its end. One that has started no rank has a moment to end by itself
  // first: it may have made things that it removes.
  ~AgentLink() override;
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;

  // Who is called from now on. Called before the first send(); until then nobody is.
  void observe(AgentObserver& observer) { observer_ = &observer; }
  // Nothing is sent once it is silent.
  void send(const wire::agent::Message& message, std::vector<os::UniqueFd> fds = {});
  // It ends every process of the job, and itself. False when it was silent already.
  bool hang_up();
  bool alive() const { return process_ && socket_; }
  // Neither its process nor its words are left.
  bool gone() const { return !process_ && !socket_; }

 private:
  void on_message(std::string_view bytes, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_message_end(int error) override;
  void exited(const os::ExitStatus& status);
  void watch();

  os::Reactor& reactor_;
  AgentObserver* observer_ = nullptr;
  std::unique_ptr<ChildProcess> process_;
  std::unique_ptr<os::MessageSocket> socket_;
  os::Reactor::TimerId watch_ = 0;
  bool stopped_ = false;  // at the last look
  bool has_ranks_ = false;
};

}  // namespace wireup::runtime
