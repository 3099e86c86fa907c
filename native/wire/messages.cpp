#include "wire/messages.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace wireup::wire {
namespace {

constexpr bool rows_in_order() {
  for (std::size_t i = 0; i < kMessages.size(); ++i) {
    if (static_cast<std::size_t>(kMessages[i].id) != i) return false;
  }
  return true;
}
static_assert(rows_in_order());

// The messages of PMI-1 grouped by the length of their names, so that a look-up compares few names.
struct ByLength {
  std::array<const MessageSpec*, kMessages.size()> specs{};
  std::array<std::uint8_t, 32> begins{};  // the index in `specs` of the first name of each length
};

constexpr ByLength sort_by_length() {
  ByLength sorted;
  std::uint8_t count = 0;
  for (std::size_t length = 0; length < sorted.begins.size(); ++length) {
    sorted.begins[length] = count;
    for (const MessageSpec& spec : kMessages) {
      if (spec.v1.size() == length) sorted.specs[count++] = &spec;
    }
  }
  return sorted;
}

constexpr ByLength kByLength = sort_by_length();
static_assert(std::ranges::all_of(kMessages, [](const MessageSpec& spec) {
  return spec.v1.size() + 1 < kByLength.begins.size();
}));

// `pattern` is a name of the table. A '#' in it matches decimal digits, which are stored in `number`.
bool matches(std::string_view pattern, std::string_view name, std::uint32_t* number) {
  const std::size_t place = number == nullptr ? std::string_view::npos : pattern.find('#');
  if (place == std::string_view::npos) return name == pattern;
  if (name.size() <= place || !name.starts_with(pattern.substr(0, place))) return false;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + place, end, *number);
  return error == std::errc() && stop == end;
}

}  // namespace

const MessageSpec* find_v1(std::string_view name, Direction direction, Form form) {
  if (name.empty() || name.size() + 1 >= kByLength.begins.size()) return nullptr;
  for (std::size_t i = kByLength.begins[name.size()]; i < kByLength.begins[name.size() + 1]; ++i) {
    const MessageSpec& spec = *kByLength.specs[i];
    if (spec.v1 == name && spec.direction == direction && spec.form == form) return &spec;
  }
  return nullptr;
}

const MessageSpec* find_v2(std::string_view name, Direction direction) {
  if (name.empty()) return nullptr;
  for (const MessageSpec& spec : kMessages) {
    if (spec.v2 == name && spec.direction == direction) return &spec;
  }
  return nullptr;
}

const AttributeSpec* find_attribute(const MessageSpec& spec, std::string_view name, Version version,
                                    std::uint32_t* number) {
  for (const AttributeSpec& attribute : spec.attributes) {
    if (!attribute.is_in(version)) continue;
    if (matches(attribute.name(version), name, number)) return &attribute;
    const std::string_view alias = version == Version::v2 ? attribute.v2_alias : attribute.alias;
    if (!alias.empty() && name == alias) return &attribute;
  }
  return nullptr;
}

std::string_view to_string(ValueType type) {
  switch (type) {
    case ValueType::integer:
      return "integer";
    case ValueType::boolean:
      return "boolean";
    case ValueType::word:
      return "word";
    case ValueType::words:
      return "words";
    case ValueType::rest_of_line:
      return "rest";
  }
  return {};
}

std::string_view to_string(Presence presence) {
  switch (presence) {
    case Presence::required:
      return "required";
    case Presence::optional:
      return "optional";
    case Presence::on_success:
      return "on-success";
  }
  return {};
}

std::string_view to_string(Direction direction) {
  switch (direction) {
    case Direction::to_server:
      return "to-server";
    case Direction::to_client:
      return "to-client";
  }
  return {};
}

std::string_view to_string(Form form) {
  switch (form) {
    case Form::line:
      return "line";
    case Form::block:
      return "block";
  }
  return {};
}

std::string_view to_string(Support support) {
  switch (support) {
    case Support::full:
      return "full";
    case Support::refused:
      return "refused";
  }
  return {};
}

}  // namespace wireup::wire
