#include "job/effects.h"

namespace wireup::job {

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

}  // namespace wireup::job
