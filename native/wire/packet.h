// The binary encoding of messages whose types are the alternatives of a std::variant. A packet is one byte
// with the index of the alternative, then the message's fields. Integers are little-endian, of 8, 32 or 64
// bits. A boolean or an enumeration is one byte. A string is its length (32 bits) and its bytes. A list is
// its count (32 bits) and its elements.
//
// A namespace with messages declares two functions. `fields(codec, message)` calls codec.field() for each
// field in order; it is used for both directions. `last_of(E)` returns the last value of the enumeration E.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace wireup::wire {

inline constexpr std::size_t kLengthBytes = 4;

class PacketWriter {
 public:
  void u8(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void u32(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) u8(static_cast<std::uint8_t>(value >> shift));
  }
  void u64(std::uint64_t value) {
    u32(static_cast<std::uint32_t>(value));
    u32(static_cast<std::uint32_t>(value >> 32));
  }
  void field(bool value) { u8(value ? 1 : 0); }
  void field(std::uint8_t value) { u8(value); }
  void field(std::uint64_t value) { u64(value); }
  void field(std::int64_t value) { u64(static_cast<std::uint64_t>(value)); }
  void field(std::uint32_t value) { u32(value); }
  void field(std::int32_t value) { u32(static_cast<std::uint32_t>(value)); }
  void field(const std::string& value) {
    u32(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }
  template <typename T>
  requires std::is_enum_v<T>
  void field(T value) { u8(static_cast<std::uint8_t>(value)); }
  template <typename T>
  requires std::is_class_v<T>
  void field(const T& value) { fields(*this, value); }
  template <typename A, typename B>
  void field(const std::pair<A, B>& value) {
    field(value.first);
    field(value.second);
  }
  template <typename T>
  void field(const std::vector<T>& values) {
    u32(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) field(value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// After an error every further read returns zeros. done() returns false then.
class PacketReader {
 public:
  explicit PacketReader(std::string_view in) : in_(in) {}

  std::uint8_t u8() {
    if (in_.empty()) return fail();
    const auto value = static_cast<std::uint8_t>(in_.front());
    in_.remove_prefix(1);
    return value;
  }
  std::uint32_t u32() {
    if (in_.size() < 4) return fail();
    std::uint32_t value = 0;
    for (int shift = 0; shift < 32; shift += 8) value |= static_cast<std::uint32_t>(u8()) << shift;
    return value;
  }
  std::uint64_t u64() {
    const std::uint64_t low = u32();
    return low | static_cast<std::uint64_t>(u32()) << 32;
  }
  void field(std::uint8_t& value) { value = u8(); }
  void field(std::uint64_t& value) { value = u64(); }
  void field(std::int64_t& value) { value = static_cast<std::int64_t>(u64()); }
  void field(bool& value) {
    const std::uint8_t byte = u8();
    if (byte > 1) fail();
    value = byte == 1;
  }
  void field(std::uint32_t& value) { value = u32(); }
  void field(std::int32_t& value) { value = static_cast<std::int32_t>(u32()); }
  void field(std::string& value) {
    const std::uint32_t size = u32();
    if (size > in_.size()) {
      fail();
      return;
    }
    value.assign(in_.substr(0, size));
    in_.remove_prefix(size);
  }
  template <typename T>
  requires std::is_enum_v<T>
  void field(T& value) {
    const std::uint8_t byte = u8();
    if (byte > static_cast<std::uint8_t>(last_of(T{}))) fail();
    value = static_cast<T>(byte);
  }
  template <typename T>
  requires std::is_class_v<T>
  void field(T& value) { fields(*this, value); }
  template <typename A, typename B>
  void field(std::pair<A, B>& value) {
    field(value.first);
    field(value.second);
  }
  template <typename T>
  void field(std::vector<T>& values) {
    const std::uint32_t count = u32();
    // Every element takes at least so many bytes, so a wrong count cannot make this reserve much more memory
    // than the packet.
    constexpr std::size_t kLeast = std::is_same_v<T, std::uint8_t> ? 1 : kLengthBytes;
    if (count > in_.size() / kLeast) {
      fail();
      return;
    }
    values.resize(count);
    for (T& value : values) {
      field(value);
      if (!ok_) return;
    }
  }
  bool done() const { return ok_ && in_.empty(); }

 private:
  std::uint8_t fail() {
    ok_ = false;
    in_ = {};
    return 0;
  }

  std::string_view in_;
  bool ok_ = true;
};

template <typename Message>
std::string encode_packet(const Message& message) {
  PacketWriter writer;
  writer.u8(static_cast<std::uint8_t>(message.index()));
  std::visit([&writer](const auto& m) { fields(writer, m); }, message);
  return writer.take();
}

// Decodes the fields of the alternative `kind`. Returns nothing if they are not exactly `body`.
template <typename Message, std::size_t Kind = 0>
std::optional<Message> decode_fields(std::uint8_t kind, std::string_view body) {
  if constexpr (Kind == std::variant_size_v<Message>) {
    return std::nullopt;
  } else {
    if (kind != Kind) return decode_fields<Message, Kind + 1>(kind, body);
    PacketReader reader(body);
    std::variant_alternative_t<Kind, Message> message;
    fields(reader, message);
    if (!reader.done()) return std::nullopt;
    return Message(std::move(message));
  }
}

// Returns nothing if the packet is not exactly one message.
template <typename Message>
std::optional<Message> decode_packet(std::string_view packet) {
  if (packet.empty()) return std::nullopt;
  return decode_fields<Message>(static_cast<std::uint8_t>(packet.front()), packet.substr(1));
}

}  // namespace wireup::wire
