// Barriers: the one over all ranks of a job (who is in, who is missing), and those over groups of them.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "engine/layout.h"
#include "wire/barrier_group.h"

namespace wireup::engine {

struct BarrierStatus {
  std::uint64_t number = 0;            // barriers completed so far = the number of the one under way
  std::vector<std::uint32_t> inside;   // ranks that wait in it
  std::vector<std::uint32_t> missing;  // ranks it waits for; empty when nobody is inside
};

class Barrier {
 public:
  explicit Barrier(std::uint32_t size) : inside_(size, false) {}

  enum class Entry {
    waiting,
    twice,     // it is inside already; nothing has changed
    complete,  // it was the last: all are out, and the next barrier has begun
  };
  Entry enter(std::uint32_t rank);
  // True when it was inside.
  bool leave(std::uint32_t rank);

  std::uint64_t number() const { return number_; }
  bool inside(std::uint32_t rank) const { return inside_[rank]; }
  bool under_way() const { return count_ != 0; }
  BarrierStatus status() const;

 private:
  std::vector<bool> inside_;
  std::uint32_t count_ = 0;
  std::uint64_t number_ = 0;
};

// A barrier over a group of ranks that some have entered.
struct GroupBarrierStatus {
  std::int32_t tag = 0;
  std::vector<std::uint32_t> inside;
  std::vector<std::uint32_t> missing;  // the others of the group
};

// Barriers over groups: any number of them at once, a rank in several of them. Two ranks mean the same
// barrier when they name the same kind of group, the same ranks and the same tag; when all of a group are in,
// it begins anew.
//
// A rank that has left for good is waited for by nobody: the barriers of its groups fail, for those inside
// and for those who come later. No other barrier does.
class GroupBarriers {
 public:
  explicit GroupBarriers(const Layout& layout) : layout_(layout) {}

  enum class Entry {
    waiting,
    complete,    // it was the last: Result::released are out
    not_member,  // the group is one of others
    no_rank,     // the group names a rank that the job has not
    twice,       // it is inside already; nothing has changed
    failed,      // Result::gone of the group has left for good
  };
  struct Result {
    Entry entry = Entry::waiting;
    std::vector<std::uint32_t> released = {};
    std::uint32_t gone = 0;
  };
  Result enter(std::uint32_t rank, const wire::BarrierGroup& group);

  struct Failed {
    std::uint32_t rank;
    std::int32_t tag;
  };
  // The rank is gone for good. Who waited with it.
  std::vector<Failed> depart(std::uint32_t rank);
  // It is back.
  void come_back(std::uint32_t rank) { gone_.erase(rank); }
  // It waits in none any more, but may come again.
  void leave(std::uint32_t rank);

  // The first `most` of those that are open.
  std::vector<GroupBarrierStatus> status(std::size_t most) const;
  std::size_t open() const { return open_.size(); }

 private:
  struct Key {
    wire::BarrierGroup::Kind kind;
    std::uint32_t node;  // of kind node
    std::int32_t tag;
    std::vector<wire::RankRange> ranks;  // of kind ranks
    auto operator<=>(const Key&) const = default;
  };

  bool contains(const Key& key, std::uint32_t rank) const;
  std::size_t size(const Key& key, std::uint32_t member) const;
  std::optional<std::uint32_t> first_gone(const Key& key) const;

  const Layout& layout_;
  std::map<Key, std::set<std::uint32_t>> open_;  // who is inside
  std::set<std::uint32_t> gone_;
};

}  // namespace wireup::engine
