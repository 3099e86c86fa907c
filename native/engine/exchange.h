// The barriers of all ranks of one process group as one agent of a job's tree sees them. Ranks of the group
// may be on the agent's own host, below its children, and outside its part of the tree (elsewhere: above its
// parent).
//
// For each barrier the exchange collects one fence of its own host and one of each child: all ranks there
// have entered the barrier, and these keys were put since the last one. If all ranks of the group are in this
// part of the tree, the barrier is then complete. Otherwise the exchange sends one fence to its parent, with
// all keys, and the barrier is complete when the parent has sent its release, with the keys of the other
// ranks. At the end the own host and each child get one release, with all keys except their own.
//
// Keys have the form of wire/key_values.h. Fences and releases of other agents arrive in parts, each of whole
// entries. A part with an entry that no rank can put is invalid, so that one agent cannot spoil a barrier for
// the others. After an invalid input nothing has changed; the driver drops the link that it came from. A
// barrier that waits for a lost link never completes: the job ends.
//
// There is no I/O and no clock. Memory is bounded by the limit for each child and for the parent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace wireup::engine {

// The keys of a complete barrier that one neighbour does not have: all, except those that it has sent itself.
// The releases of a barrier share the memory of the keys, because a node may have thousands of children.
class OtherKeys {
 public:
  // The neighbour's own keys are `size` bytes from `begin` on.
  OtherKeys(std::shared_ptr<const std::string> all, std::size_t begin, std::size_t size)
      : all_(std::move(all)), begin_(begin), end_(begin + size) {}

  std::size_t size() const { return all_->size() - (end_ - begin_); }
  // They are before and after those of the neighbour. Valid while an OtherKeys of the barrier exists.
  std::string_view before() const { return std::string_view(*all_).substr(0, begin_); }
  std::string_view after() const { return std::string_view(*all_).substr(end_); }
  std::string text() const { return std::string(before()).append(after()); }

 private:
  std::shared_ptr<const std::string> all_;
  std::size_t begin_;
  std::size_t end_;
};

class Exchange {
 public:
  // Chosen by the driver.
  using Child = std::uint32_t;

  // `local`: the agent's own host has ranks of the group. `children`: those with ranks of the group below
  // them. `parent`: ranks are outside this part of the tree. `limit`: of the keys, in bytes, that one child,
  // or the parent, sends for one barrier. It must be the limit of ProcessGroupOptions::space times the number
  // of hosts of the job, because each host may put that much.
  Exchange(bool local, const std::vector<Child>& children, bool parent, std::uint64_t limit);

  // Inputs. They return the error of an invalid one; empty: it was valid.
  // The own ProcessGroup's FenceQuery.
  std::string local_fence(std::uint64_t number, std::string keys);
  // `last`: it is the last part.
  std::string child_fence(Child child, std::uint64_t number, std::string_view keys, bool last);
  std::string parent_release(std::uint64_t number, std::string_view keys, bool last);

  // Outputs. The driver takes them and carries them out after each input. It cuts the keys of Up and Down
  // into parts, see take_part() and OtherParts.
  struct Up {
    std::uint64_t number;
    std::string keys;
  };
  struct Down {
    Child child;
    std::uint64_t number;
    OtherKeys keys;
  };
  struct Local {
    std::uint64_t number;
    std::string keys;  // for ProcessGroup::finish_fence()
  };
  std::optional<Up> take_up();
  std::vector<Down> take_down();
  std::optional<Local> take_local();
  // The barrier that has become complete, if no rank is outside this part of the tree: this agent is then the
  // first one that knows, and Down and Local are the consequence.
  std::optional<std::uint64_t> take_completed();

  // The number of completed barriers, which is the number of the current one.
  std::uint64_t number() const { return number_; }
  // What the current barrier waits for.
  struct Missing {
    bool local = false;
    std::vector<Child> children = {};
    bool parent = false;  // only if nothing else is missing
  };
  Missing missing() const;

 private:
  // What has arrived from one neighbour for the current barrier.
  struct Part {
    std::string keys = {};
    bool whole = false;
  };

  std::string check(const Part& part, std::uint64_t number) const;
  std::string add(Part& part, std::uint64_t number, std::string_view keys, bool last) const;
  void advance();
  void complete();
  // Calls `visit` with the parts of all neighbours, in a fixed order.
  template <typename Visit>
  void each_part(Visit visit) const;
  std::string all_keys() const;

  std::uint64_t limit_;
  std::uint64_t number_ = 0;
  bool has_local_;
  Part local_;  // not used if the own host has no ranks of the group
  std::map<Child, Part> children_;
  bool has_parent_;
  Part parent_;              // not used if no rank is outside
  std::size_t missing_ = 0;  // own host and children whose fences are not whole
  std::optional<Up> up_;
  std::vector<Down> down_;
  std::optional<Local> to_local_;
  std::optional<std::uint64_t> completed_;
};

// Removes the next part from the front of `keys`: as many whole entries as fit into `most` bytes, but at
// least one (an entry that a rank can put has about 1100 bytes at most). If `keys` is empty, the part is
// empty.
std::string_view take_part(std::string_view& keys, std::size_t most);

// Cuts the keys of one release into parts. A part may be two pieces, one from each side of the neighbour's
// own keys, so that a small release is one part.
class OtherParts {
 public:
  explicit OtherParts(const OtherKeys& keys) : before_(keys.before()), after_(keys.after()) {}

  // The next part, as in take_part().
  std::string next(std::size_t most);
  bool done() const { return before_.empty() && after_.empty(); }

 private:
  std::string_view before_;
  std::string_view after_;
};

}  // namespace wireup::engine
