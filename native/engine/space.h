// The memory limit of keys and values. A Space is shared by all process groups of a job. It counts their
// key-value spaces and their node attributes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

namespace wireup::engine {

// The memory of an entry in addition to its key and value, estimated: two strings, a node of a hash table,
// the heap's overhead.
inline constexpr std::uint64_t kEntryCost = 128;

// The default limit, 1 GiB. 65,536 ranks can put 16 KiB each, or 8 million empty values together.
inline constexpr std::uint64_t kDefaultSpace = std::uint64_t{1} << 30;

// In bytes. Used by one thread only.
class Space {
 public:
  explicit Space(std::uint64_t limit) : limit_(limit) {}

  std::uint64_t limit() const { return limit_; }
  std::uint64_t used() const { return used_; }
  bool is_full() const { return used_ >= limit_; }

 private:
  friend class SpaceShare;
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

// The part of a Space that one process group uses. The destructor returns it.
class SpaceShare {
 public:
  explicit SpaceShare(std::shared_ptr<Space> space) : space_(std::move(space)) {}
  ~SpaceShare() { space_->used_ -= held_; }
  SpaceShare(const SpaceShare&) = delete;
  SpaceShare& operator=(const SpaceShare&) = delete;

  // Reserves memory for a new entry, or for a new value in place of one of `old_size` bytes. Returns false if
  // the space is full.
  bool add(std::string_view key, std::string_view value) {
    return take(key.size() + value.size() + kEntryCost, 0);
  }
  bool replace(std::size_t old_size, std::string_view value) { return take(value.size(), old_size); }
  // The same, but succeed even if the space is full.
  void force(std::string_view key, std::string_view value) { use(key.size() + value.size() + kEntryCost); }
  void force_replace(std::size_t old_size, std::string_view value) { use(value.size() - old_size); }
  // Takes back what force() has reserved for an entry that replaces another one.
  void give_back(std::string_view key, std::string_view value) {
    use(-(key.size() + value.size() + kEntryCost));
  }

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
