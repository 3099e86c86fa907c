// The barriers of process groups that have ranks on several hosts, as this agent sees them: an
// engine::Exchange for each such group. It carries fences and releases between the PMI servers of this host,
// the children and the parent.
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "engine/effects.h"
#include "engine/exchange.h"
#include "tools/agent/router.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

class FencesObserver {
 public:
  virtual ~FencesObserver() = default;
  // The barrier is complete. This agent is the first one that knows, and the only one that gets this call.
  virtual void on_barrier(std::uint32_t group, std::uint64_t number) = 0;
  // The barrier is complete for the ranks on this host; `keys` are those of the others. Returns what is wrong
  // with it; empty: nothing.
  virtual std::string on_release(std::uint32_t group, std::uint64_t number, std::string keys) = 0;
};

class Fences {
 public:
  Fences(Router& router, FencesObserver& observer) : router_(router), observer_(observer) {}

  // `kvs_limit`: of one host, in bytes.
  void greet(std::uint64_t kvs_limit) { kvs_limit_ = kvs_limit; }
  // Returns the number of hosts of the group.
  std::size_t add(const wire::agent::Group& group);
  void forget(std::uint32_t group);
  void lose(std::uint32_t child) { releases_.erase(child); }

  // All ranks of this host are in the barrier.
  void fence_here(std::uint32_t group, engine::FenceQuery query);
  // Both return what is wrong with the message, or nullptr.
  const char* fence_of(std::uint32_t child, const wire::agent::Fence& fence);
  const char* release(const wire::agent::Release& release);
  // Sends parts of releases to the child, until many bytes wait for it. Call it when it has taken some.
  void send_releases(std::uint32_t child);

 private:
  struct Group {
    std::set<std::uint32_t> hosts;
    // Made at the first fence: the hosts below this one are known then.
    std::unique_ptr<engine::Exchange> exchange = nullptr;
  };

  // For a child. The keys are shared by all children, so that slow children need no memory for copies.
  struct WaitingRelease {
    WaitingRelease(std::uint32_t of_group, engine::Exchange::Down from)
        : group(of_group), down(std::move(from)), parts(down.keys) {}
    std::uint32_t group;
    engine::Exchange::Down down;
    engine::OtherParts parts;  // not sent yet
  };

  // Null: the group is unknown.
  engine::Exchange* exchange_of(std::uint32_t number);
  // Carries out what the exchange wants. Returns what is wrong with the release for this host, or nullptr.
  const char* carry_out(std::uint32_t group, engine::Exchange& exchange);
  const char* note(std::string fault);

  Router& router_;
  FencesObserver& observer_;
  std::uint64_t kvs_limit_ = 0;
  std::map<std::uint32_t, Group> groups_;  // by number; those with ranks on several hosts
  std::map<std::uint32_t, std::list<WaitingRelease>> releases_;  // by child
  std::string fault_;                                            // the text of the last fault
};

}  // namespace wireup::agent
