#include "engine/spawn.h"

#include <charconv>

#include "wire/codec.h"
#include "wire/limits.h"

namespace wireup::engine {
namespace {

using wire::AttributeId;
using wire::reserved_bytes;
using wire::ValueType;

// Clients number elements from 0 or from 1.
constexpr std::uint32_t kHighestFirst = 1;

}  // namespace

std::string format_spawn(const SpawnRequest& request, wire::Version version) {
  const bool v2 = version == wire::Version::v2;
  std::string out = v2 ? std::string(wire::kFrameHeader, ' ') + "cmd=spawn;" : std::string();
  bool encodable = !request.commands.empty();
  const auto add = [&](std::string_view name, std::string_view value) {
    // In a block each attribute has its own line. In a frame an argument may have a newline, because no PMI-1
    // rank reads it.
    const std::string_view reserved =
        v2 ? std::string_view("\0;", 2) : reserved_bytes(ValueType::rest_of_line, version);
    if (value.find_first_of(reserved) != std::string_view::npos) encodable = false;
    out.append(name).append("=").append(value).append(1, v2 ? ';' : '\n');
  };
  // Adds an attribute under its name in the table, with `number` in place of a '#'.
  const auto add_attribute = [&](AttributeId id, std::string_view value, std::size_t number = 0) {
    for (const wire::AttributeSpec& attribute : wire::spec_of(wire::MessageId::spawn).attributes) {
      if (attribute.id != id) continue;
      std::string name(attribute.name(version));
      if (name.ends_with('#')) name.replace(name.size() - 1, 1, std::to_string(number));
      add(name, value);
    }
  };
  const auto add_pairs = [&](AttributeId count, AttributeId key, AttributeId value, const KeyValues& pairs) {
    add_attribute(count, std::to_string(pairs.size()));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      add_attribute(key, pairs[i].first, i);
      add_attribute(value, pairs[i].second, i);
    }
  };
  const auto add_preput = [&] {
    add_pairs(AttributeId::preput_num, AttributeId::preput_key, AttributeId::preput_val, request.preput);
  };
  if (v2) {
    add_attribute(AttributeId::totspawns, std::to_string(request.commands.size()));
    add_preput();
  }
  for (std::size_t number = 0; number < request.commands.size(); ++number) {
    const SpawnCommand& command = request.commands[number];
    encodable = encodable && !command.program.empty();
    if (!v2) out += "mcmd=spawn\n";
    add_attribute(AttributeId::execname, command.program);
    add_attribute(AttributeId::nprocs, std::to_string(command.ranks));
    if (!v2) {
      add_attribute(AttributeId::totspawns, std::to_string(request.commands.size()));
      add_attribute(AttributeId::spawnssofar, std::to_string(number + 1));
    }
    add_attribute(AttributeId::argcnt, std::to_string(command.args.size()));
    for (std::size_t i = 0; i < command.args.size(); ++i)
      add_attribute(AttributeId::arg, command.args[i], v2 ? i : i + 1);
    if (!v2 && number == 0) add_preput();
    add_pairs(AttributeId::info_num, AttributeId::info_key, AttributeId::info_val, command.info);
    if (!v2) out += "endcmd\n";
  }
  if (!v2) return encodable ? out : std::string();
  const std::string length = std::to_string(out.size() - wire::kFrameHeader);
  if (!encodable || length.size() > wire::kFrameHeader) return {};
  out.replace(wire::kFrameHeader - length.size(), length.size(), length);
  return out;
}

void SpawnReader::fail(std::string_view fault, AttributeId attribute) {
  if (!fault_.empty()) return;
  std::string_view name = wire::name_of(attribute);
  name = name.substr(0, name.find_last_not_of("_#") + 1);
  fault_.append(fault).append("_").append(name);
  request_ = {};
  command_ = {};
  info_ = {};
  preput_ = {};
}

void SpawnReader::begin_command() {
  if (inside_) end_command();
  inside_ = true;
  ++begun_;
  command_ = {};
  nprocs_.reset();
  args_ = {};
  info_ = {};
  if (version_ == wire::Version::v1) preput_ = {};
}

void SpawnReader::set_count(std::optional<std::uint32_t>& count, AttributeId id, std::string_view value,
                            std::uint32_t least, std::uint32_t most) {
  std::uint32_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc() || stop != end) return fail("bad_number_in", id);
  if (number < least || number > most) return fail("out_of_range", id);
  if (count && *count != number) return fail("conflicting", id);
  count = number;
}

bool SpawnReader::is_next(Numbered& list, AttributeId id, std::uint32_t number, std::uint32_t most) {
  if (list.seen == 0 && number <= kHighestFirst) list.first = number;
  if (number != list.first + list.seen) {
    fail("number_out_of_sequence_in", id);
  } else if (list.seen == most) {
    fail("too_many", id);
  } else {
    ++list.seen;
    return true;
  }
  return false;
}

void SpawnReader::add(Pairs& pairs, AttributeId id, bool is_key, std::uint32_t number, std::string_view value,
                      std::uint32_t most) {
  Numbered& side = is_key ? pairs.keys : pairs.values;
  if (!is_next(side, id, number, most)) return;
  if (pairs.list.size() < side.seen) pairs.list.emplace_back();
  auto& [key, text] = pairs.list[side.seen - 1];
  (is_key ? key : text) = value;
}

void SpawnReader::check(const Pairs& pairs, AttributeId id) {
  if (pairs.keys.seen != pairs.count.value_or(0) || pairs.values.seen != pairs.keys.seen)
    fail("wrong_count_in", id);
}

void SpawnReader::field(std::string_view name, std::string_view value) {
  if (!fault_.empty()) return;
  std::uint32_t number = 0;
  const wire::AttributeSpec* attribute =
      wire::find_attribute(wire::spec_of(wire::MessageId::spawn), name, version_, &number);
  if (attribute == nullptr) return;
  const AttributeId id = attribute->id;
  // PMI-1 ranks may read these.
  const bool is_preput = id == AttributeId::preput_key || id == AttributeId::preput_val;
  if (attribute->limit != 0 && value.size() + 1 > attribute->limit) return fail("too_long", id);
  if (is_preput && value.find('\n') != std::string_view::npos) return fail("newline_in", id);
  if (id == AttributeId::preput_key && !wire::is_encodable(ValueType::word, wire::Version::v1, value))
    return fail("bad", id);
  if (value.find('\0') != std::string_view::npos) return fail("NUL_byte_in", id);
  switch (id) {
    case AttributeId::totspawns:
      return set_count(total_, id, value, 1, kMaxSpawnCommands);
    case AttributeId::spawnssofar: {
      std::optional<std::uint32_t> so_far;
      set_count(so_far, id, value, 0, kMaxSpawnCommands);
      if (!so_far) return;
      if (!so_far_base_ && *so_far <= kHighestFirst) so_far_base_ = *so_far;
      if (so_far_base_.value_or(0) + begun_ - 1 != *so_far) fail("number_out_of_sequence_in", id);
      return;
    }
    case AttributeId::preput_num:
      return set_count(preput_.count, id, value, 0, kMaxSpawnPreput);
    case AttributeId::preput_key:
    case AttributeId::preput_val:
      return add(preput_, id, id == AttributeId::preput_key, number, value, kMaxSpawnPreput);
    case AttributeId::execname:
      if (version_ == wire::Version::v2) begin_command();
      if (!fault_.empty()) return;
      if (begun_ > kMaxSpawnCommands) return fail("too_many", id);
      if (value.empty() || !command_.program.empty()) return fail("bad", id);
      command_.program = value;
      return;
    default:
      break;
  }
  if (!inside_) return fail("no_program_before", id);
  switch (id) {
    case AttributeId::nprocs:
      return set_count(nprocs_, id, value, 1, kMaxSpawnRanks);
    case AttributeId::argcnt:
      return set_count(args_.count, id, value, 0, kMaxSpawnArgs);
    case AttributeId::arg:
      if (is_next(args_, id, number, kMaxSpawnArgs)) command_.args.emplace_back(value);
      return;
    case AttributeId::info_num:
      return set_count(info_.count, id, value, 0, kMaxSpawnInfo);
    default:
      return add(info_, id, id == AttributeId::info_key, number, value, kMaxSpawnInfo);
  }
}

void SpawnReader::end_command() {
  if (!std::exchange(inside_, false) || !fault_.empty()) return;
  if (command_.program.empty()) return fail("missing", AttributeId::execname);
  if (!nprocs_) return fail("missing", AttributeId::nprocs);
  if (args_.seen != args_.count.value_or(0)) return fail("wrong_count_in", AttributeId::argcnt);
  check(info_, AttributeId::info_num);
  if (version_ == wire::Version::v1) end_preput();
  ranks_ += *nprocs_;
  if (ranks_ > kMaxSpawnRanks) fail("out_of_range", AttributeId::nprocs);
  if (!fault_.empty()) return;
  command_.ranks = *nprocs_;
  command_.info = std::move(info_.list);
  request_.commands.push_back(std::move(command_));
}

// PMI-1 clients send the keys with the first command only, or the same keys with each command.
void SpawnReader::end_preput() {
  check(preput_, AttributeId::preput_num);
  if (fault_.empty() && request_.preput.empty()) request_.preput = std::move(preput_.list);
}

const std::string& SpawnReader::finish() {
  end_command();
  if (version_ == wire::Version::v2) end_preput();
  if (fault_.empty() && request_.commands.size() != total()) fail("wrong_count_in", AttributeId::totspawns);
  for (const auto& [key, value] : request_.preput) {
    if (key.empty()) {
      fail("empty", AttributeId::preput_key);
      break;
    }
  }
  return fault_;
}

}  // namespace wireup::engine
