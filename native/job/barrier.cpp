#include "job/barrier.h"

namespace wireup::job {

Barrier::Entry Barrier::enter(std::uint32_t rank) {
  if (inside_[rank]) return Entry::twice;
  inside_[rank] = true;
  if (++count_ < inside_.size()) return Entry::waiting;
  inside_.assign(inside_.size(), false);
  count_ = 0;
  ++number_;
  return Entry::complete;
}

bool Barrier::leave(std::uint32_t rank) {
  if (!inside_[rank]) return false;
  inside_[rank] = false;
  --count_;
  return true;
}

BarrierStatus Barrier::status() const {
  BarrierStatus status;
  status.number = number_;
  if (count_ == 0) return status;
  for (std::uint32_t rank = 0; rank < inside_.size(); ++rank) {
    (inside_[rank] ? status.inside : status.missing).push_back(rank);
  }
  return status;
}

}  // namespace wireup::job
