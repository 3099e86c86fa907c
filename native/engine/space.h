// How much the keys and values of jobs may take together: a job's key-value space and its attributes of
// nodes, and, in a launch, those of the groups that its ranks spawn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace wireup::engine {

// Beside its key and its value, what the server takes to keep an entry: two strings, a node of a table, the
// heap's own.
inline constexpr std::uint64_t kEntryCost = 128;

// Where nothing else is said. 65,536 ranks may put 16 KiB each; of empty values there are 8 million.
inline constexpr std::uint64_t kDefaultSpace = std::uint64_t{1} << 30;

// In bytes. Shared by the jobs of a launch; its own thread's.
class Space {
 public:
  explicit Space(std::uint64_t limit) : limit_(limit) {}

  std::uint64_t limit() const { return limit_; }
  bool is_full() const { return used_ >= limit_; }

 private:
  friend class SpaceShare;
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

// What one job has of a Space; it gives that back when it goes.
class SpaceShare {
 public:
  explicit SpaceShare(std::shared_ptr<Space> space) : space_(std::move(space)) {}
  ~SpaceShare() { space_->used_ -= held_; }
  SpaceShare(const SpaceShare&) = delete;
  SpaceShare& operator=(const SpaceShare&) = delete;

  // Room for an entry, or for another value in the place of one of `old_size` bytes. False: there is none.
  bool add(std::string_view key, std::string_view value) {
    return take(key.size() + value.size() + kEntryCost, 0);
  }
  bool replace(std::size_t old_size, std::string_view value) { return take(value.size(), old_size); }
  // Also where there is none.
  void force(std::string_view key, std::string_view value) { use(key.size() + value.size() + kEntryCost); }

  const Space& space() const { return *space_; }

 private:
  bool take(std::uint64_t bytes, std::uint64_t given_back) {
    if (bytes > given_back && space_->limit_ - std::min(space_->used_, space_->limit_) < bytes - given_back)
      return false;
    use(bytes - given_back);
    return true;
  }
  void use(std::uint64_t bytes) {
    space_->used_ += bytes;
    held_ += bytes;
  }

  std::shared_ptr<Space> space_;
  std::uint64_t held_ = 0;
};

}  // namespace wireup::engine
