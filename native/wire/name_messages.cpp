#include "wire/name_messages.h"

#include <algorithm>
#include <type_traits>

#include "wire/limits.h"
#include "wire/packet.h"

namespace wireup::wire::names {
namespace {

bool is_encodable(std::string_view text, std::size_t limit) {
  return text.size() < limit && text.find_first_of(std::string_view("\n\0", 2)) == std::string_view::npos;
}

bool is_valid(const Hello& m) { return is_encodable(m.kvsname, kMaxKvsname); }
bool is_valid(const Ask& m) {
  return !m.request.service.empty() && is_encodable(m.request.service, kMaxValue) &&
         is_encodable(m.request.port, kMaxValue);
}
bool is_valid(const List& m) { return is_encodable(m.after, kMaxValue); }
bool is_valid(const Welcome&) { return true; }
bool is_valid(const Reply& m) { return is_encodable(m.answer.port, kMaxValue); }
bool is_valid(const Row& row) {
  return is_encodable(row.service, kMaxValue) && is_encodable(row.port, kMaxValue) &&
         is_encodable(row.kvsname, kMaxKvsname);
}
bool is_valid(const Page& m) {
  // An empty page that is not the last would make the client ask for the same page for ever.
  return m.rows.size() <= kPageRows && (m.last || !m.rows.empty()) &&
         std::ranges::all_of(m.rows, [](const Row& row) { return is_valid(row); });
}

}  // namespace

constexpr Operation last_of(Operation) { return Operation::lookup; }
constexpr Error last_of(Error) { return Error::gone; }

template <typename Codec, typename M>
void fields(Codec& codec, M& m) {
  using T = std::remove_const_t<M>;
  if constexpr (std::is_same_v<T, Hello>) {
    codec.field(m.version);
    codec.field(m.kvsname);
  } else if constexpr (std::is_same_v<T, Request>) {
    codec.field(m.operation);
    codec.field(m.service);
    codec.field(m.port);
  } else if constexpr (std::is_same_v<T, Answer>) {
    codec.field(m.error);
    codec.field(m.port);
  } else if constexpr (std::is_same_v<T, Ask>) {
    codec.field(m.request);
  } else if constexpr (std::is_same_v<T, List>) {
    codec.field(m.after);
  } else if constexpr (std::is_same_v<T, Welcome>) {
    codec.field(m.version);
  } else if constexpr (std::is_same_v<T, Reply>) {
    codec.field(m.answer);
  } else if constexpr (std::is_same_v<T, Row>) {
    codec.field(m.service);
    codec.field(m.port);
    codec.field(m.kvsname);
    codec.field(m.pid);
  } else {
    static_assert(std::is_same_v<T, Page>);
    codec.field(m.rows);
    codec.field(m.last);
  }
}

std::string encode(const Message& message) {
  const std::string packet = encode_packet(message);
  std::string length = std::to_string(packet.size());
  length.insert(0, kFrameHeader - length.size(), ' ');
  return length + packet;
}

std::optional<Message> decode(std::string_view frame) {
  std::optional<Message> message = decode_packet<Message>(frame);
  if (!message || !std::visit([](const auto& m) { return is_valid(m); }, *message)) return std::nullopt;
  return message;
}

}  // namespace wireup::wire::names
