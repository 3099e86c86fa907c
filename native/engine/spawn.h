// A spawn: the request of a rank to start another process group (MPI_Comm_spawn). It is a query to the driver
// (SpawnQuery in effects.h).
//
// SpawnReader builds the request field by field, in either version of PMI, by the names of the message table.
// The memory it uses is bounded. The first error makes the whole request invalid: a count that differs from
// the number of elements, a gap in the numbers of elements, or a value over its limit.
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

// Limits of one request. More programs, arguments or ranks are probably a mistake.
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
  KeyValues preput;  // put into the new key-value space before its ranks start
};

// The result of a spawn. If rc is 0: the kvsname of the new process group, and one error code for each
// process. Otherwise `message` is the reason.
struct SpawnAnswer {
  std::int32_t rc = 0;
  std::string message = {};
  std::string kvsname = {};
  std::vector<std::int32_t> errcodes = {};
};

// Returns the complete message. It is empty if the request has no program, is too long, or has a byte that
// this version cannot carry.
std::string format_spawn(const SpawnRequest& request, wire::Version version);

class SpawnReader {
 public:
  explicit SpawnReader(wire::Version version) : version_(version) {}

  // PMI-1: call these at the begin and end of each mcmd block. PMI-2 needs neither; a command begins with its
  // program.
  void begin_command();
  void field(std::string_view name, std::string_view value);
  void end_command();

  // The number of blocks that PMI-1 will send; 1 until the client has sent the number.
  std::uint32_t total() const { return total_.value_or(1); }
  // Call this at the end. Returns the error as one word, or an empty text.
  const std::string& finish();
  SpawnRequest take() { return std::move(request_); }

 private:
  // A list of numbered elements, and its count as the client has sent it.
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
  bool inside_ = false;  // between begin_command() and end_command()
  std::optional<std::uint32_t> so_far_base_;
  // The current command.
  SpawnCommand command_;
  std::optional<std::uint32_t> nprocs_;
  Numbered args_;
  Pairs info_;
  Pairs preput_;
};

}  // namespace wireup::engine
