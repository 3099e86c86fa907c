// Fuzzes ProcessGroup and its ServerSessions. These invariants must hold for any bytes on any connections,
// however reads split them:
//
// 1. No undefined behaviour (the sanitizers check that), and no exception.
// 2. Every line or frame of an identified rank causes a reply, an event or a query. Exceptions: barriers and
// attributes that the rank waits for, whose replies are deferred; the lines of an mcmd block, whose reply
// comes at its end; and everything after finalize. The first line of an unidentified connection, or its first
// frame after an init of PMI-2, identifies or closes it.
// 3. The effects do not depend on how reads split the bytes: the same steps byte by byte have the same
// effects.
// 4. The server sends complete lines within the limit or, after an init of PMI-2, complete frames, and only
// on open connections.
// 5. Memory is bounded: there are at most as many entries as lines and frames, and other memory is
// proportional to the input.
// 6. Events are in order: the number of the barrier increases by one, and a barrier completes only with every
// rank inside. A rank initializes only if it is connected, and is lost only between init and finalize.
//
// A violation prints its number to stderr and aborts.
#include <malloc.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/process_group.h"
#include "engine/transcript.h"
#include "fuzz_input.h"
#include "wire/codec.h"
#include "wire/framer.h"

namespace wireup::fuzz {
namespace {

using engine::ConnectionId;

void require(bool holds, int invariant, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what);
  std::abort();
}

engine::ProcessGroupOptions options() {
  test::Transcript transcript;
  transcript.size = kRanks;
  transcript.port = true;
  return test::options_of(transcript);
}

class World {
 public:
  explicit World(bool byte_by_byte) : byte_by_byte_(byte_by_byte), group_(options()) {}

  // Returns the effects of a step as text that does not depend on how sends were merged. Valid until the next
  // call.
  const std::string& run(const Step& step) {
    trace_.clear();
    sending_.reset();
    switch (step.kind) {
      case Step::Kind::tick:
        now_ += std::chrono::seconds(step.seconds);
        group_.tick(now_, effects_);
        collect();
        require(!group_.deadline() || *group_.deadline() > now_, 2, "a deadline is past after tick");
        break;
      case Step::Kind::hang_up:
        open(step.connection);
        hang_up(step.connection);
        break;
      case Step::Kind::receive:
        open(step.connection);
        if (!byte_by_byte_) {
          group_.receive(step.connection, step.bytes, effects_);
          collect();
        }
        for (std::size_t i = 0; byte_by_byte_ && i < step.bytes.size() && sides_[step.connection].open; ++i) {
          receive_byte(step.connection, step.bytes.substr(i, 1));
        }
        break;
    }
    // The driver answers after the step. Every other spawn fails.
    for (const auto& [id, processes] : std::exchange(spawn_queries_, {})) {
      engine::SpawnAnswer answer;
      if (id % 2 == 0) {
        answer = {.rc = 1, .message = "a reason;\n"};
      } else if (processes < 5000) {
        answer.kvsname = "child";
        answer.errcodes.assign(processes, static_cast<std::int32_t>(id % 3));
      }
      group_.answer_spawn(id, answer, effects_);
      collect();
    }
    return trace_;
  }

  void check_status(std::size_t messages) const {
    const engine::ProcessGroupStatus status = group_.status();
    require(status.kvs_entries <= messages + 1, 5, "more entries than messages");
    require(status.barrier.number == barriers_, 6, "the status has a wrong barrier number");
    require(status.barrier.inside.size() < kRanks, 6, "all ranks wait in a barrier");
    require(status.rejected == rejected_, 2, "a refusal was not reported");
  }

 private:
  struct Side {
    bool open = false;
    std::optional<std::uint32_t> rank;
    bool initialized = false;
    bool finalized = false;
    bool refused = false;  // unidentified, ignored, and closed later
    bool in_block = false;
    bool v2 = false;  // it sends frames from now on
    std::string line;
    wire::FrameFramer frames{wire::kMaxFrame};
  };

  Side* side_of(std::int32_t rank) {
    const auto side = std::ranges::find_if(sides_, [rank](const Side& side) {
      return side.rank && static_cast<std::int32_t>(*side.rank) == rank;
    });
    return side == sides_.end() ? nullptr : &*side;
  }

  void open(ConnectionId connection) {
    if (sides_[connection].open) return;
    sides_[connection].open = true;
    constexpr ConnectionId kChannels = 2;
    if (connection < kChannels && side_of(static_cast<std::int32_t>(connection)) == nullptr) {
      group_.open_channel(connection, connection);
      sides_[connection].rank = connection;
      // The rank may have left before.
      stuck_ = false;
      return;
    }
    group_.accept(connection, {.transport = engine::Transport::tcp, .uid = 1000, .pid = {}, .address = {}},
                  now_, effects_);
    require(effects_.empty(), 2, "an allowed peer was refused at once");
  }

  void hang_up(ConnectionId connection) {
    const bool ranked = sides_[connection].rank.has_value();
    ended_ = false;
    group_.eof(connection, effects_);
    collect();
    require(ended_ == ranked, 2, "the end of a rank's connection was not reported");
    sides_[connection] = {};
  }

  void receive_byte(ConnectionId connection, std::string_view byte) {
    Side& side = sides_[connection];
    const bool unidentified = !side.rank;
    const bool ignored = side.refused;
    if (side.v2) return receive_frame_byte(connection, byte);
    const bool newline = byte[0] == '\n';
    if (!newline && !ignored) side.line += byte;
    const std::size_t before = trace_.size();
    const std::uint64_t rejected_before = rejected_;
    group_.receive(connection, byte, effects_);
    collect();
    require(!side.refused || trace_.size() == before, 2, "bytes of a refused connection had an effect");
    if (!newline || ignored) return;

    const std::string line = std::exchange(side.line, {});
    const bool reported = trace_.size() != before;
    if (unidentified) {
      side.refused = side.open && !side.rank && !side.v2;
      require(reported && (!side.refused || rejected_ > rejected_before), 2,
              "an unidentified connection's line neither identified it nor had it refused");
    } else if (side.in_block) {
      side.in_block = line != "endcmd";
    } else if (side.open) {
      const wire::Parsed parsed = wire::parse_v1(line, wire::Direction::to_server);
      side.in_block = parsed.form == wire::Form::block;
      const bool barrier = parsed.spec != nullptr && parsed.spec->id == wire::MessageId::barrier_in;
      require(reported || side.in_block || barrier || aborts_again(side, parsed), 2,
              "a line without reply or event");
    }
  }

  // Only a rank's first abort is an event. Further ones have no effect.
  bool aborts_again(const Side& side, const wire::Parsed& parsed) const {
    return parsed.spec != nullptr && parsed.spec->id == wire::MessageId::abort && aborted_[*side.rank];
  }

  void receive_frame_byte(ConnectionId connection, std::string_view byte) {
    Side& side = sides_[connection];
    const bool unidentified = !side.rank;
    const bool ignored = side.refused;
    std::string_view input = byte;
    std::string_view view;
    const wire::FrameFramer::Result result =
        ignored ? wire::FrameFramer::Result::more : side.frames.next(input, view);
    const std::string frame(view);
    const std::size_t before = trace_.size();
    const std::uint64_t rejected_before = rejected_;
    group_.receive(connection, byte, effects_);
    collect();
    require(!side.refused || trace_.size() == before, 2, "bytes of a refused connection had an effect");
    if (result == wire::FrameFramer::Result::more) return;
    if (result != wire::FrameFramer::Result::frame)
      return require(!side.open, 2, "a connection stayed open after a malformed frame");
    const bool reported = trace_.size() != before;
    if (unidentified) {
      side.refused = side.open && !side.rank;
      require(reported && (!side.refused || rejected_ > rejected_before), 2,
              "an unidentified connection's frame neither identified it nor had it refused");
      return;
    }
    std::string scratch;
    const wire::Parsed parsed = wire::parse_v2(frame, wire::Direction::to_server, scratch);
    const bool waits = parsed.spec != nullptr && (parsed.spec->id == wire::MessageId::barrier_in ||
                                                  parsed.spec->id == wire::MessageId::get_node_attribute);
    require(reported || waits || !side.open || aborts_again(side, parsed), 2,
            "a frame without reply, event or query");
  }

  void collect() {
    for (const engine::Effect& effect : effects_.list()) {
      if (const auto* send = engine::as<engine::Send>(effect)) {
        on_send(send->connection, effects_.bytes(*send));
      } else if (const auto* close = engine::as<engine::Close>(effect)) {
        require(sides_[close->connection].open, 4, "closed twice");
        sides_[close->connection] = {};
        trace("close " + std::to_string(close->connection));
      } else if (const auto* query = engine::as<engine::SpawnQuery>(effect)) {
        on_spawn_query(*query);
      } else {
        on_event(*engine::as<engine::Event>(effect));
      }
    }
    effects_.clear();
  }

  void on_send(ConnectionId connection, std::string_view bytes) {
    require(connection < kConnections && sides_[connection].open, 4, "sent to a connection that is not open");
    require(bytes.find('\0') == std::string_view::npos, 4, "sent a NUL byte");
    bool& v2 = sides_[connection].v2;
    for (std::string_view rest = bytes; !rest.empty();) {
      if (v2) {
        wire::FrameFramer framer(wire::kMaxFrame);
        std::string_view frame;
        require(framer.next(rest, frame) == wire::FrameFramer::Result::frame, 4, "sent a part of a frame");
        require(frame.starts_with("cmd=") && frame.ends_with(';'), 4, "sent a frame without a command");
        require(frame.find('\n') == std::string_view::npos, 4, "sent a newline in a frame");
        continue;
      }
      require(rest.find('\n') != std::string_view::npos, 4, "sent a part of a line");
      const std::size_t size = rest.find('\n') + 1;
      require(size <= engine::kMaxLine, 4, "sent a line over the limit");
      require(rest.starts_with("cmd="), 4, "sent a line without a command");
      v2 = rest.starts_with("cmd=response_to_init pmi_version=2 ");
      rest.remove_prefix(size);
    }
    last_sent_ = connection;
    if (sending_ != connection) trace("send " + std::to_string(connection));
    sending_ = connection;
    trace_ += bytes;
  }

  void on_spawn_query(const engine::SpawnQuery& query) {
    const Side* side = side_of(static_cast<std::int32_t>(query.rank));
    require(side != nullptr && side->initialized && !side->finalized, 6,
            "a query without an initialized rank");
    std::size_t processes = 0;
    for (const engine::SpawnCommand& command : query.spawn.commands) {
      require(!command.program.empty() && command.ranks > 0, 6, "a spawn without a program or ranks");
      processes += command.ranks;
    }
    require(processes > 0, 6, "a spawn without commands");
    spawn_queries_.emplace_back(query.id, processes);
    trace(test::text_of(query));
  }

  void on_event(const engine::Event& event) {
    Side* side = side_of(event.rank);
    switch (event.type) {
      case engine::EventType::connected:
        require(side == nullptr, 6, "a rank with two connections");
        // The reply to its initack was sent just before.
        sides_[last_sent_].rank = static_cast<std::uint32_t>(event.rank);
        break;
      case engine::EventType::initialized:
        require(side != nullptr && !side->initialized, 6, "initialized out of order");
        side->initialized = true;
        break;
      case engine::EventType::barrier:
        require(event.barrier == barriers_++, 6, "barriers out of order");
        require(!stuck_, 6, "a barrier that could never complete did");
        for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
          const Side* member = side_of(static_cast<std::int32_t>(rank));
          require(member != nullptr && member->initialized && !member->finalized, 6,
                  "a barrier without every rank");
        }
        break;
      case engine::EventType::finalized:
        require(side != nullptr && side->initialized && !side->finalized, 6, "finalized out of order");
        side->finalized = true;
        break;
      case engine::EventType::disconnected:
        require(side != nullptr && event.lost == (side->initialized && !side->finalized), 6, "lost is wrong");
        ended_ = true;
        break;
      case engine::EventType::rejected:
        ++rejected_;
        break;
      case engine::EventType::stuck:
        require(!std::exchange(stuck_, true) && event.barrier == barriers_, 6, "stuck is wrong");
        break;
      case engine::EventType::aborted:
        require(side != nullptr, 6, "an abort of a rank without a connection");
        aborted_[static_cast<std::size_t>(event.rank)] = true;
        break;
      case engine::EventType::protocol_error:
      case engine::EventType::entered:
        require(side != nullptr, 6, "an event of a rank without a connection");
        break;
    }
    trace("event " + std::to_string(static_cast<int>(event.type)) + " " + std::to_string(event.rank) + " " +
          std::to_string(event.exit_code) + " " + event.message);
  }

  void trace(const std::string& item) {
    sending_.reset();
    trace_ += item + "\n";
  }

  bool byte_by_byte_;
  engine::ProcessGroup group_;
  engine::Effects effects_;
  engine::TimePoint now_{};
  std::array<Side, kConnections> sides_;
  std::array<bool, kRanks> aborted_{};
  std::string trace_;
  std::optional<ConnectionId> sending_;  // the connection of the last bytes in the trace
  ConnectionId last_sent_ = 0;
  std::vector<std::pair<engine::QueryId, std::size_t>> spawn_queries_;
  bool ended_ = false;
  bool stuck_ = false;
  std::uint64_t barriers_ = 0;
  std::uint64_t rejected_ = 0;
};

// Returns 0 under a sanitizer, whose allocator does not report it.
std::size_t memory_in_use() { return mallinfo2().uordblks; }

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::vector<Step> steps = read_steps(input);
  constexpr std::size_t kShortestPut = 31;  // bytes, as a frame
  const std::size_t lines = static_cast<std::size_t>(std::ranges::count(input, '\n')) + size / kShortestPut;

  const std::size_t before = memory_in_use();
  const auto whole = std::make_unique<World>(false);
  const auto bytes = std::make_unique<World>(true);
  for (const Step& step : steps) {
    require(whole->run(step) == bytes->run(step), 3, "the effects depend on how reads split the bytes");
  }
  whole->check_status(lines);
  bytes->check_status(lines);
  // Two worlds, each with its entries and their overhead, and the lines of its connections and of this
  // harness.
  constexpr std::size_t kFixed = 256 << 10;
  constexpr std::size_t kEntry = 512;  // a line may be an event, and an event names a peer
  require(memory_in_use() <= before + kFixed + 32 * size + 2 * kEntry * lines, 5,
          "more memory than the input explains");
  return 0;
}
