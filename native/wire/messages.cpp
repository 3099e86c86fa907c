#include "wire/messages.h"

namespace wireup::wire {
namespace {

constexpr bool rows_in_order() {
  for (std::size_t i = 0; i < kMessages.size(); ++i) {
    if (static_cast<std::size_t>(kMessages[i].id) != i) return false;
  }
  return true;
}
static_assert(rows_in_order());

}  // namespace

const MessageSpec* find_v1(std::string_view name, Direction direction, Form form) {
  for (const MessageSpec& spec : kMessages) {
    if (spec.v1 == name && spec.direction == direction && spec.form == form) return &spec;
  }
  return nullptr;
}

std::string_view to_string(ValueType type) {
  switch (type) {
    case ValueType::integer:
      return "integer";
    case ValueType::word:
      return "word";
    case ValueType::words:
      return "words";
    case ValueType::rest:
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
