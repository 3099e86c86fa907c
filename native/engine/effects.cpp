#include "engine/effects.h"

namespace wireup::engine {

bool is_repeatable(const Event& event) {
  switch (event.type) {
    case EventType::barrier:
    case EventType::rejected:
    case EventType::protocol_error:
    case EventType::entered:
      return true;
    case EventType::connected:
    case EventType::initialized:
      return event.again;
    case EventType::disconnected:
      return event.again && !event.lost;
    case EventType::finalized:
    case EventType::aborted:
    case EventType::stuck:
      return event.again;
  }
  return false;
}

void Effects::send(ConnectionId connection, std::string_view bytes) {
  const std::size_t offset = mark();
  buffer_.append(bytes);
  share(connection, offset);
}

void Effects::share(ConnectionId connection, std::size_t offset) {
  const std::size_t size = buffer_.size() - offset;
  if (size == 0) return;
  Send* last = list_.empty() ? nullptr : std::get_if<Send>(&list_.back());
  if (last != nullptr && last->connection == connection && last->offset + last->size == offset) {
    last->size += size;
  } else {
    list_.emplace_back(Send{connection, offset, size});
  }
}

}  // namespace wireup::engine
