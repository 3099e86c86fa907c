// Barriers: Barrier is the one of all ranks of a process group, GroupBarriers are those of PMI-1.2's barrier
// groups.
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
  std::uint64_t number = 0;  // the number of completed barriers, which is the number of the current one
  std::vector<std::uint32_t> inside;   // the ranks that wait in it
  std::vector<std::uint32_t> missing;  // the ranks that it waits for; empty if no rank is inside
};

class Barrier {
 public:
  explicit Barrier(std::uint32_t size) : inside_(size, false) {}

  enum class Entry {
    waiting,
    twice,     // it is inside already; nothing has changed
    complete,  // it was the last one: the barrier is over, and the next one has begun
  };
  Entry enter(std::uint32_t rank);
  // Returns true if it was inside.
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

// A barrier of a barrier group that at least one rank has entered.
struct GroupBarrierStatus {
  std::int32_t tag = 0;
  std::vector<std::uint32_t> inside;
  std::vector<std::uint32_t> missing;  // the other ranks of the group
};

// The barriers of barrier groups. Any number of them can be in progress, and a rank can be inside several.
// Two ranks enter the same barrier if they name the same kind of group, the same ranks and the same tag. When
// all ranks of the group are inside, the barrier is over, and the same name means the next one.
//
// If a rank has left for good, all barriers of its groups fail, for the ranks inside and for those that enter
// later. Other barriers are not affected.
class GroupBarriers {
 public:
  explicit GroupBarriers(const Layout& layout) : layout_(layout) {}

  enum class Entry {
    waiting,
    complete,      // it was the last one: the barrier is over for Result::released
    not_member,    // the rank is not in the group
    unknown_rank,  // the group has a rank that the process group does not have
    twice,         // it is inside already; nothing has changed
    failed,        // the rank Result::gone of the group has left for good
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
  // The rank has left for good. Returns the ranks whose barriers fail because of that.
  std::vector<Failed> depart(std::uint32_t rank);
  // The rank has connected again.
  void come_back(std::uint32_t rank) { gone_.erase(rank); }
  // Removes the rank from all barriers. It may enter them again.
  void leave(std::uint32_t rank);

  // The first `most` barriers that are in progress.
  std::vector<GroupBarrierStatus> status(std::size_t most) const;
  std::size_t open() const { return open_.size(); }

 private:
  struct Key {
    wire::BarrierGroup::Kind kind;
    std::uint32_t node;  // kind `node` only
    std::int32_t tag;
    std::vector<wire::RankRange> ranks;  // kind `ranks` only
    auto operator<=>(const Key&) const = default;
  };

  bool contains(const Key& key, std::uint32_t rank) const;
  std::size_t size(const Key& key, std::uint32_t member) const;
  std::optional<std::uint32_t> first_gone(const Key& key) const;

  const Layout& layout_;
  std::map<Key, std::set<std::uint32_t>> open_;  // the ranks inside
  std::set<std::uint32_t> gone_;
};

}  // namespace wireup::engine
