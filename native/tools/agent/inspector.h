// Answers the launcher's Inspect: looks at the processes of ranks in /proc, once or twice, has debuggers show
// their stacks if that is asked for, and sends the InspectReplies.
//
// Threads: the reactor's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "os/reactor.h"
#include "tools/agent/groups.h"
#include "tools/agent/ranks.h"
#include "tools/agent/reports.h"
#include "tools/agent/stacks.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class Inspector final {
 public:
  Inspector(os::Reactor& reactor, Reports& reports, Groups& groups, const Ranks& ranks, int dev_null);
  ~Inspector();
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;

  // Returns what is wrong with the message, or nullptr.
  const char* handle(wire::agent::Inspect inspect);
  // The job ends: debuggers are killed, and questions that are not answered yet never will be.
  void stop();

 private:
  struct Question {
    std::uint32_t id = 0;
    std::uint32_t stacks = 0;  // of the first ranks
    std::uint32_t missing_stacks = 0;
    os::Reactor::Clock::time_point first_look = {};
    std::vector<wire::agent::InspectedRank> ranks;
    os::Reactor::TimerId timer = 0;
  };
  using Number = std::uint64_t;

  void look_again(Number number);
  void take_stacks(Number number);
  void reply(Number number);

  os::Reactor& reactor_;
  Reports& reports_;
  Groups& groups_;
  const Ranks& ranks_;
  Stacks stacks_;
  std::map<Number, Question> questions_;
  Number last_ = 0;
  bool stopped_ = false;
};

}  // namespace wireup::agent
