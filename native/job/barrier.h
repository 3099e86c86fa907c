// The barrier over all ranks of a job: who is in, who is missing.
#pragma once

#include <cstdint>
#include <vector>

namespace wireup::job {

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

}  // namespace wireup::job
