// What a rank asks to be started: MPI_Comm_spawn and its like, a query to the host (SpawnQuery in
// effects.h).
//
// SpawnReader makes it of what either version of PMI says, field by field, by the names of the message table.
// It bounds what it keeps, and the first thing that is wrong makes the whole request wrong: counts that are
// not what they count, numbers of elements that skip, more than the limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/messages.h"

namespace wireup::engine {

// Of one request. A program of that many arguments or a job of that many programs is a mistake.
inline constexpr std::uint32_t kMaxSpawnCommands = 1024;
inline constexpr std::uint32_t kMaxSpawnArgs = 16'384;
inline constexpr std::uint32_t kMaxSpawnInfo = 1024;
inline constexpr std::uint32_t kMaxSpawnPreput = 16'384;
inline constexpr std::uint32_t kMaxSpawnRanks = 1 << 20;

using KeyValues = std::vector<std::pair<std::string, std::string>>;

struct SpawnCommand {
  std::string program;
  std::vector<std::string> args;  // without the program
  std::uint32_t ranks = 0;
  KeyValues info;
};

struct SpawnRequest {
  std::vector<SpawnCommand> commands;
  KeyValues preput;  // for the key-value space of the new job, before its ranks start
};

// How a spawn has ended. `kvsname` of the new job and one error code a process when rc is 0, else why not.
struct SpawnAnswer {
  std::int32_t rc = 0;
  std::string message = {};
  std::string kvsname = {};
  std::vector<std::int32_t> errcodes = {};
};

// The message that asks for it. Empty: something of it cannot be said in that version.
std::string format_spawn(const SpawnRequest& request, wire::Version version);

class SpawnReader {
 public:
  explicit SpawnReader(wire::Version version) : version_(version) {}

  // PMI-1 says a block for each command; in PMI-2 each begins with its program.
  void begin_command();
  void field(std::string_view name, std::string_view value);
  void end_command();

  // The blocks that PMI-1 is to say; 1 until it has said how many.
  std::uint32_t total() const { return total_.value_or(1); }
  // When the last command has ended: what is wrong, as one word; empty when nothing is.
  const std::string& finish();
  SpawnRequest take() { return std::move(request_); }

 private:
  // A list of elements that are numbered one by one, and the count that is said of it.
  struct Numbered {
    std::optional<std::uint32_t> count = {};
    std::uint32_t first = 0;
    std::uint32_t seen = 0;
  };
  struct Pairs {
    std::optional<std::uint32_t> count = {};
    Numbered keys = {};
    Numbered values = {};
    KeyValues list = {};
  };

  void fail(std::string_view fault, wire::AttributeId attribute);
  void set_count(std::optional<std::uint32_t>& count, wire::AttributeId id, std::string_view value,
                 std::uint32_t least, std::uint32_t most);
  bool is_next(Numbered& list, wire::AttributeId id, std::uint32_t number, std::uint32_t most);
  void add(Pairs& pairs, wire::AttributeId id, bool is_key, std::uint32_t number, std::string_view value,
           std::uint32_t most);
  void check(const Pairs& pairs, wire::AttributeId id);
  void end_preput();

  wire::Version version_;
  std::string fault_;
  SpawnRequest request_;
  std::optional<std::uint32_t> total_;
  std::uint64_t ranks_ = 0;
  std::uint32_t begun_ = 0;
  bool inside_ = false;  // a command has begun and not ended
  std::optional<std::uint32_t> so_far_base_;
  // Of the command that is being read.
  SpawnCommand command_;
  std::optional<std::uint32_t> nprocs_;
  Numbered args_;
  Pairs info_;
  Pairs preput_;
};

}  // namespace wireup::engine
