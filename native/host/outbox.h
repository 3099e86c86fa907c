// The queue of notices between the reactor thread and the owner's: filled by one, taken whole by the other. The
// owner is woken only when the queue turns non-empty.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "host/notice.h"

namespace wireup::host {

class Outbox final : public NoticeSink {
 public:
  // `wake` is called on the reactor thread.
  explicit Outbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  void notify(Handle handle, Payload payload, std::uint32_t group = 0) override;

  // Any thread.
  std::vector<Notice> take();

 private:
  std::function<void()> wake_;
  std::mutex mutex_;
  std::vector<Notice> queue_;
};

}  // namespace wireup::host
