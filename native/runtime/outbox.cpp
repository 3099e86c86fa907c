#include "runtime/outbox.h"

#include <algorithm>
#include <utility>

namespace wireup::runtime {
namespace {

double milliseconds_since(os::Reactor::Clock::time_point begin, When when = {}) {
  return std::chrono::duration<double, std::milli>(when.value_or(os::Reactor::Clock::now()) - begin).count();
}

}  // namespace

void Outbox::open(Handle handle, os::Reactor::Clock::time_point begin) {
  std::list<Notice> last;
  last.push_back({handle, Error{"ERR_PMI_INTERNAL", "out of memory"}});
  last.push_back({handle, Closed{}});
  const std::lock_guard lock(mutex_);
  Reader& reader = readers_[handle];
  reader.begin = begin;
  reader.last = std::move(last);
}

void Outbox::forget(Handle handle) {
  const std::lock_guard lock(mutex_);
  readers_.erase(handle);
}

bool Outbox::is_open(Handle handle) {
  const std::lock_guard lock(mutex_);
  return find_open(handle) != nullptr;
}

Outbox::Reader* Outbox::find_open(Handle handle) {
  const auto reader = readers_.find(handle);
  return reader == readers_.end() || reader->second.last.empty() ? nullptr : &reader->second;
}

void Outbox::notify(Handle handle, Payload payload, std::uint32_t group, When when) {
  if (std::holds_alternative<Closed>(payload)) return close(handle);
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    Reader* reader = find_open(handle);
    if (reader == nullptr) return;
    was_empty = queue_.empty();
    if (const auto* missed = std::get_if<EventsMissed>(&payload)) {
      push(*reader, handle, *missed);
    } else if (auto* lines = std::get_if<TraceLines>(&payload)) {
      push(*reader, handle, std::move(*lines));
    } else {
      push(*reader, handle, std::move(payload), group, when);
    }
  }
  if (was_empty) wake_();
}

void Outbox::tell(Handle handle, const engine::Event& event, std::uint32_t group, When when) {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    Reader* reader = find_open(handle);
    if (reader == nullptr || !reader->wanted[static_cast<std::size_t>(event.type)]) return;
    was_empty = queue_.empty();
    push(*reader, handle, event, group, when);
  }
  if (was_empty) wake_();
}

void Outbox::push(Reader& reader, Handle handle, const engine::Event& event, std::uint32_t group, When when) {
  if (!engine::is_repeatable(event)) return push(reader, handle, Payload(event), group, when);
  Waiting& waiting = reader.waiting[static_cast<std::size_t>(event.type)];
  if (waiting.count < kMaxWaitingEvents) {
    push(reader, handle, Payload(event), group, when);
    ++waiting.count;
    waiting.missed = nullptr;
    return;
  }
  push(reader, handle, EventsMissed{event.type, 1});
}

void Outbox::push(Reader& reader, Handle handle, const EventsMissed& missed) {
  Waiting& waiting = reader.waiting[static_cast<std::size_t>(missed.type)];
  if (waiting.missed != nullptr) {
    waiting.missed->count += missed.count;
    return;
  }
  push(reader, handle, Payload(missed), 0, {});
  waiting.missed = &std::get<EventsMissed>(queue_.back().payload);
}

void Outbox::push(Reader& reader, Handle handle, TraceLines lines) {
  if (reader.trace < kMaxTraceBuffer) {
    reader.trace += lines.lines.size();
    reader.trace_dropped = nullptr;
    return push(reader, handle, Payload(std::move(lines)), 0, {});
  }
  const std::uint64_t dropped = lines.records + lines.dropped;
  if (reader.trace_dropped != nullptr) {
    reader.trace_dropped->dropped += dropped;
    return;
  }
  push(reader, handle, Payload(TraceLines{.lines = {}, .dropped = dropped}), 0, {});
  reader.trace_dropped = &std::get<TraceLines>(queue_.back().payload);
}

void Outbox::push(Reader& reader, Handle handle, Payload payload, std::uint32_t group, When when) {
  queue_.push_back({handle, std::move(payload), group, milliseconds_since(reader.begin, when)});
}

void Outbox::close(Handle handle) noexcept {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    Reader* reader = find_open(handle);
    if (reader == nullptr) return;
    was_empty = queue_.empty();
    reader->last.pop_front();
    splice_last(*reader, nullptr);
  }
  if (was_empty) wake_();
}

void Outbox::close(Handle handle, Error* error) noexcept {
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    Reader* reader = find_open(handle);
    if (reader == nullptr) return;
    was_empty = queue_.empty();
    splice_last(*reader, error);
  }
  if (was_empty) wake_();
}

void Outbox::splice_last(Reader& reader, Error* error) noexcept {
  if (error != nullptr) reader.last.front().payload = std::move(*error);
  for (Notice& notice : reader.last) notice.time = milliseconds_since(reader.begin);
  queue_.splice(queue_.end(), reader.last);
}

std::size_t Outbox::fail_all(const char* message) noexcept {
  std::size_t count = 0;
  bool was_empty;
  {
    const std::lock_guard lock(mutex_);
    was_empty = queue_.empty();
    for (auto& [handle, reader] : readers_) {
      if (reader.last.empty()) continue;
      ++count;
      try {
        Error error{"ERR_PMI_INTERNAL", message};
        splice_last(reader, &error);
      } catch (...) {
        splice_last(reader, nullptr);
      }
    }
  }
  if (was_empty && count > 0) wake_();
  return count;
}

Outbox::Batch Outbox::take(std::size_t most) {
  const std::lock_guard lock(mutex_);
  Batch batch;
  batch.notices.reserve(std::min(most, queue_.size()));
  while (!queue_.empty() && batch.notices.size() < most) {
    Notice& notice = queue_.front();
    const auto entry = readers_.find(notice.handle);
    if (entry != readers_.end()) {
      Reader& reader = entry->second;
      if (const auto* event = std::get_if<engine::Event>(&notice.payload);
          event != nullptr && engine::is_repeatable(*event)) {
        --reader.waiting[static_cast<std::size_t>(event->type)].count;
      } else if (const auto* missed = std::get_if<EventsMissed>(&notice.payload)) {
        Waiting& waiting = reader.waiting[static_cast<std::size_t>(missed->type)];
        if (waiting.missed == missed) waiting.missed = nullptr;
      } else if (const auto* lines = std::get_if<TraceLines>(&notice.payload)) {
        reader.trace -= lines->lines.size();
        if (reader.trace_dropped == lines) reader.trace_dropped = nullptr;
      } else if (std::holds_alternative<Closed>(notice.payload)) {
        readers_.erase(entry);
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
  if (Reader* reader = find_open(handle)) reader->wanted = types;
}

}  // namespace wireup::runtime
