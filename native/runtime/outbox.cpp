#include "runtime/outbox.h"

#include <algorithm>
#include <utility>

namespace wireup::runtime {

void Outbox::begin(Handle handle, os::Reactor::Clock::time_point when) {
  const std::lock_guard lock(mutex_);
  readers_[handle].begin = when;
}

void Outbox::notify(Handle handle, Payload payload, std::uint32_t group) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = push(handle, std::move(payload), group);
  }
  if (was_empty) wake_();
}

void Outbox::tell(Handle handle, const engine::Event& event, std::uint32_t group) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    Reader& reader = readers_[handle];
    if (!reader.wanted[static_cast<std::size_t>(event.type)]) return;
    was_empty = push(reader, handle, event, group);
  }
  if (was_empty) wake_();
}

bool Outbox::push(Reader& reader, Handle handle, const engine::Event& event, std::uint32_t group) {
  if (!engine::is_repeatable(event)) return push(handle, event, group);
  Waiting& waiting = reader.waiting[static_cast<std::size_t>(event.type)];
  if (waiting.count < kMaxWaitingEvents) {
    ++waiting.count;
    waiting.missed = nullptr;
    return push(handle, event, group);
  }
  if (waiting.missed != nullptr) {
    ++waiting.missed->count;
    return false;
  }
  push(handle, EventsMissed{event.type, 1}, 0);
  waiting.missed = &std::get<EventsMissed>(queue_.back().payload);
  return false;
}

bool Outbox::push(Handle handle, Payload payload, std::uint32_t group) {
  double time = 0;
  if (const auto reader = readers_.find(handle); reader != readers_.end()) {
    time =
        std::chrono::duration<double, std::milli>(os::Reactor::Clock::now() - reader->second.begin).count();
  }
  queue_.push_back({handle, std::move(payload), group, time});
  return queue_.size() == 1;
}

Outbox::Batch Outbox::take(std::size_t most) {
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.notices.reserve(std::min(most, queue_.size()));
  while (!queue_.empty() && batch.notices.size() < most) {
    Notice& notice = queue_.front();
    if (const auto reader = readers_.find(notice.handle); reader != readers_.end()) {
      if (const auto* event = std::get_if<engine::Event>(&notice.payload);
          event != nullptr && engine::is_repeatable(*event)) {
        --reader->second.waiting[static_cast<std::size_t>(event->type)].count;
      } else if (const auto* missed = std::get_if<EventsMissed>(&notice.payload)) {
        Waiting& waiting = reader->second.waiting[static_cast<std::size_t>(missed->type)];
        if (waiting.missed == missed) waiting.missed = nullptr;
      } else if (std::holds_alternative<Closed>(notice.payload)) {
        readers_.erase(reader);
      }
    }
    batch.notices.push_back(std::move(notice));
    queue_.pop_front();
  }
  batch.more = !queue_.empty();
  return batch;
}

void Outbox::read(Handle handle, const Types& types) {
  const std::lock_guard lock(mutex_);
  readers_[handle].wanted = types;
}

}  // namespace wireup::runtime
