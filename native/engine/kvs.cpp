#include "engine/kvs.h"

#include "engine/limits.h"
#include "wire/key_values.h"

namespace wireup::engine {
namespace {

// No message can carry these bytes.
// Two searches by memchr() take a tenth of the time of one find_first_of().
bool has_reserved_byte(std::string_view text) {
  return text.find('\0') != std::string_view::npos || text.find('\n') != std::string_view::npos;
}

}  // namespace

std::string check_entries(std::string_view text) {
  wire::KeyValueReader reader(text);
  while (const auto entry = reader.next()) {
    const auto& [key, value] = *entry;
    if (key.empty() || key.size() >= kMaxKey || has_reserved_byte(key)) return "a key that no rank can put";
    if (key.starts_with(kReservedPrefix)) return "a key that belongs to the server";
    if (value.size() >= kMaxValue || has_reserved_byte(value)) return "a value that no rank can put";
  }
  return reader.done() ? "" : "malformed keys and values";
}

bool Kvs::put(std::string_view key, std::string_view value) {
  auto entry = entries_.find(key);
  if (entry != entries_.end()) {
    if (!share_.replace(entry->second.size(), value)) return false;
    // A new string, because an assignment would keep the memory of a longer value.
    entry->second = std::string(value);
  } else {
    if (!share_.add(key, value)) return false;
    entry = entries_.emplace(key, value).first;
  }
  if (records_) new_.insert(&*entry);
  return true;
}

void Kvs::store(std::string_view key, std::string_view value) {
  if (const auto entry = entries_.find(key); entry != entries_.end()) {
    share_.force_replace(entry->second.size(), value);
    entry->second = std::string(value);
    return;
  }
  share_.force(key, value);
  entries_.emplace(key, value);
}

std::string Kvs::take_new() {
  std::string text;
  for (const auto* entry : new_) wire::append_key_value(text, entry->first, entry->second);
  new_ = {};
  return text;
}

const std::string* Kvs::get(std::string_view key) const {
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? nullptr : &entry->second;
}

}  // namespace wireup::engine
