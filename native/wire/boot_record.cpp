#include "wire/boot_record.h"

#include <algorithm>
#include <charconv>
#include <type_traits>

#include "wire/packet.h"
#include "wire/zmq_key.h"

namespace wireup::wire::boot {
namespace {

constexpr std::string_view kScheme = "tcp://";
constexpr std::size_t kKeySize = 40;
constexpr std::size_t kMaxEndpoint = 128;
constexpr std::string_view kIpv4Characters = "0123456789.";
constexpr std::string_view kIpv6Characters = "0123456789abcdefABCDEF.:";

bool are_endpoints(const std::vector<std::string>& endpoints, std::size_t least) {
  return endpoints.size() >= least && endpoints.size() <= kMaxEndpoints &&
         std::ranges::all_of(endpoints, is_endpoint);
}

bool is_name(const std::string& name) { return !name.empty() && name.size() <= kMaxName; }

bool are_unique(std::vector<std::uint32_t> numbers) {
  std::ranges::sort(numbers);
  return std::ranges::adjacent_find(numbers) == numbers.end();
}

bool is_valid(const Record& m) {
  return m.job.size() == kJobIdSize && are_endpoints(m.endpoints, 1) &&
         (m.root_key.empty() || is_key(m.root_key)) && is_key(m.join_key) && m.width >= 1 &&
         !m.hosts.empty() && m.hosts.size() <= kMaxHosts && are_unique(m.hosts) &&
         m.names.size() == m.hosts.size() && std::ranges::all_of(m.names, is_name) &&
         m.iface.size() <= kMaxName;
}

bool is_valid(const Join& m) {
  return m.job.size() == kJobIdSize && is_key(m.key) && are_endpoints(m.endpoints, 0);
}

bool is_valid(const Joined& m) {
  return (m.parent_key.empty() || is_key(m.parent_key)) && are_endpoints(m.endpoints, 1);
}

template <typename Message>
std::string encode_fields(const Message& message) {
  PacketWriter writer;
  writer.field(message);
  return writer.take();
}

template <typename Message>
std::optional<Message> decode(std::string_view bytes) {
  PacketReader reader(bytes);
  Message message;
  reader.field(message);
  if (!reader.done() || !is_valid(message)) return std::nullopt;
  return message;
}

}  // namespace

template <typename Codec, typename M>
void fields(Codec& codec, M& m) {
  using T = std::remove_const_t<M>;
  if constexpr (std::is_same_v<T, Record>) {
    codec.field(m.job);
    codec.field(m.endpoints);
    codec.field(m.root_key);
    codec.field(m.join_key);
    codec.field(m.width);
    codec.field(m.hosts);
    codec.field(m.names);
    codec.field(m.iface);
  } else if constexpr (std::is_same_v<T, Join>) {
    codec.field(m.job);
    codec.field(m.host);
    codec.field(m.key);
    codec.field(m.endpoints);
  } else {
    static_assert(std::is_same_v<T, Joined>);
    codec.field(m.parent);
    codec.field(m.parent_key);
    codec.field(m.endpoints);
  }
}

std::string encode(const Record& record) { return encode_fields(record); }
std::string encode(const Join& join) { return encode_fields(join); }
std::string encode(const Joined& joined) { return encode_fields(joined); }

std::optional<Record> decode_record(std::string_view packet) { return decode<Record>(packet); }

std::optional<Join> decode_join(std::string_view message) {
  return message.size() > kMaxMessage ? std::nullopt : decode<Join>(message);
}

std::optional<Joined> decode_joined(std::string_view message) {
  return message.size() > kMaxMessage ? std::nullopt : decode<Joined>(message);
}

std::optional<std::size_t> place_of(const Record& record, std::string_view name) {
  const auto found = std::ranges::find(record.names, name);
  if (found == record.names.end()) return std::nullopt;
  return static_cast<std::size_t>(found - record.names.begin());
}

bool is_endpoint(std::string_view text) {
  if (text.size() > kMaxEndpoint || !text.starts_with(kScheme)) return false;
  text.remove_prefix(kScheme.size());
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view address = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  std::uint32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0 || port > 65'535)
    return false;
  const bool bracketed = address.starts_with('[') && address.ends_with(']');
  if (bracketed) address = address.substr(1, address.size() - 2);
  const std::string_view allowed = bracketed ? kIpv6Characters : kIpv4Characters;
  return !address.empty() && address.find_first_not_of(allowed) == std::string_view::npos;
}

bool is_key(std::string_view text) { return text.size() == kKeySize && is_z85(text); }

}  // namespace wireup::wire::boot
