#include "runtime/pmi_ids.h"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "os/random.h"

namespace wireup::runtime {
namespace {

using wire::agent::PmiIdKind;

constexpr std::size_t kHexadecimalBytes = 16;

std::vector<engine::PmiId> numbers(std::uint32_t size) {
  std::vector<engine::PmiId> ids;
  ids.reserve(size);
  std::unordered_set<std::uint32_t> taken(size);
  std::vector<std::uint32_t> random;
  while (ids.size() < size) {
    random.resize(size - ids.size());
    os::fill_random(std::as_writable_bytes(std::span(random)));
    for (const std::uint32_t value : random) {
      const std::uint32_t number = value & 0x7fffffff;
      if (taken.insert(number).second) ids.emplace_back(number);
    }
  }
  return ids;
}

// Two of 128 random bits are never equal.
std::vector<engine::PmiId> hexadecimals(std::uint32_t size) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::vector<engine::PmiId> ids;
  ids.reserve(size);
  std::vector<std::byte> random(size * kHexadecimalBytes);
  os::fill_random(random);
  for (auto first = random.begin(); first != random.end(); first += kHexadecimalBytes) {
    std::string text;
    text.reserve(2 * kHexadecimalBytes);
    for (const std::byte byte : std::span(first, kHexadecimalBytes)) {
      text += kDigits[std::to_integer<std::size_t>(byte >> 4)];
      text += kDigits[std::to_integer<std::size_t>(byte & std::byte{15})];
    }
    ids.emplace_back(std::move(text));
  }
  return ids;
}

std::vector<engine::PmiId> ranks(std::uint32_t size) {
  std::vector<engine::PmiId> ids;
  ids.reserve(size);
  for (std::uint32_t rank = 0; rank < size; ++rank) ids.emplace_back(rank);
  return ids;
}

}  // namespace

std::vector<engine::PmiId> make_pmi_ids(std::uint32_t size, PmiIdKind kind) {
  switch (kind) {
    case PmiIdKind::number:
      return numbers(size);
    case PmiIdKind::hexadecimal:
      return hexadecimals(size);
    case PmiIdKind::rank:
      break;
  }
  return ranks(size);
}

}  // namespace wireup::runtime
