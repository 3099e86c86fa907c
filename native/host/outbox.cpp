#include "host/outbox.h"

namespace wireup::host {

void Outbox::notify(Handle handle, Payload payload, std::uint32_t group) {
  bool was_empty;
  {
    std::lock_guard lock(mutex_);
    was_empty = queue_.empty();
    queue_.push_back({handle, std::move(payload), group});
  }
  if (was_empty) wake_();
}

std::vector<Notice> Outbox::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(queue_, {});
}

}  // namespace wireup::host
