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

// Only ranks that are here; see Barrier.
struct BarrierStatus {
  std::uint64_t number = 0;  // the number of completed barriers, which is the number of the current one
  std::vector<std::uint32_t> inside;   // the ranks that have entered it
  std::vector<std::uint32_t> missing;  // the ranks that it waits for; empty if no rank has entered it
};

// Some ranks may be elsewhere, on other hosts. They never enter here. When all ranks that are here are
// inside, the barrier is over if no rank is elsewhere: release the ranks inside and call finish(). Otherwise
// call hold(). From then on the entries stand, and the barrier is over when the other hosts' ranks have
// entered it too. A rank that leaves in between and enters again waits in the same barrier; if that is over
// by then, the rank is released at once.
class Barrier {
 public:
  // `elsewhere`: by rank; empty: all ranks are here. It must live longer than this object.
  Barrier(std::uint32_t size, const std::vector<bool>& elsewhere);

  enum class Entry {
    waiting,
    twice,     // it is inside already; nothing has changed
    complete,  // it was the last one that is here
    missed,    // it had entered the barrier before, and left before that was over; nothing else has changed
  };
  Entry enter(std::uint32_t rank);
  // The rank no longer waits. Returns true if it was inside.
  bool leave(std::uint32_t rank);

  void hold() { held_ = true; }
  // The barrier is over, and the next one begins.
  void finish();

  std::uint64_t number() const { return number_; }
  bool inside(std::uint32_t rank) const { return inside_[rank]; }
  // The number of ranks inside.
  std::uint32_t waiting() const { return waiting_; }
  bool under_way() const { return waiting_ != 0; }
  bool held() const { return held_; }
  // The rank's entry stands, but the rank is not inside.
  bool is_absent(std::uint32_t rank) const { return !absent_.empty() && absent_[rank]; }
  BarrierStatus status() const;

 private:
  const std::vector<bool>& elsewhere_;
  std::vector<bool> inside_;
  // Empty if all ranks are here. While the barrier is held: see is_absent(). Otherwise: the rank has missed
  // the end of the barrier before.
  std::vector<bool> absent_;
  std::uint32_t here_;  // the number of ranks
  std::uint32_t waiting_ = 0;
  bool held_ = false;
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
//
// The barriers that have members on several hosts are in the launcher. It calls enter() for each
// BarrierQuery, and answers the queries that the results name. If a rank finalizes or its connection ends, it
// calls leave().
class GroupBarriers {
 public:
  explicit GroupBarriers(const Layout& layout) : layout_(layout) {}

  // A rank inside, and what enter() got with it.
  struct Member {
    std::uint32_t rank;
    std::uint64_t query;
    bool operator==(const Member&) const = default;
  };

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
    std::vector<Member> released = {};
    std::uint32_t gone = 0;
  };
  // `query` is for the caller: results name it.
  Result enter(std::uint32_t rank, const wire::BarrierGroup& group, std::uint64_t query = 0);

  struct Failed {
    Member member;
    std::int32_t tag;
  };
  // The rank has left for good. Returns the ranks whose barriers fail because of that.
  std::vector<Failed> depart(std::uint32_t rank);
  // The rank has connected again.
  void come_back(std::uint32_t rank) { gone_.erase(rank); }
  // Removes the rank from all barriers, or from that of one group. It may enter them again.
  void leave(std::uint32_t rank);
  void leave(std::uint32_t rank, const wire::BarrierGroup& group);

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

  // The ranks inside, and their queries.
  using Inside = std::map<std::uint32_t, std::uint64_t>;

  Key key_of(std::uint32_t rank, const wire::BarrierGroup& group) const;
  bool contains(const Key& key, std::uint32_t rank) const;
  std::size_t size(const Key& key, std::uint32_t member) const;
  std::optional<std::uint32_t> first_gone(const Key& key) const;

  const Layout& layout_;
  std::map<Key, Inside> open_;
  std::set<std::uint32_t> gone_;
};

}  // namespace wireup::engine
