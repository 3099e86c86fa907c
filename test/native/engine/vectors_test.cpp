// Runs every golden transcript with a ProcessGroup in memory: line by line, byte by byte, and pipelined.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "engine/transcript.h"

namespace wireup::test {
namespace {

enum class Mode { lines, bytes, pipelined };

class Runner {
 public:
  Runner(const Transcript& transcript, Mode mode)
      : transcript_(transcript), mode_(mode), group_(options_of(transcript)) {}

  void run() {
    for (const TranscriptLine& line : transcript_.lines) {
      INFO(transcript_.name, ", line ", line.line);
      switch (line.kind) {
        case TranscriptLine::Kind::send:
          if (pending_ && (mode_ != Mode::pipelined || connection_ != line.connection)) flush();
          begin(line.connection);
          input_ += line.text;
          break;
        case TranscriptLine::Kind::hang_up:
          if (pending_ && connection_ != line.connection) flush();
          begin(line.connection);
          hang_up_ = true;
          flush();
          break;
        case TranscriptLine::Kind::receive:
          if (pending_ && connection_ != line.connection) flush();
          (pending_ ? run_expected_ : expected_[line.connection].text) += line.text;
          break;
        case TranscriptLine::Kind::closed:
          if (pending_) flush();
          expected_[line.connection].closed = true;
          break;
        case TranscriptLine::Kind::event:
          expected_events_.push_back(line.text);
          break;
      }
    }
    INFO(transcript_.name);
    if (pending_) flush();
    check();
    CHECK(events_ == expected_events_);
  }

 private:
  struct Side {
    std::string text;
    bool closed = false;
  };

  void begin(std::uint32_t connection) {
    pending_ = true;
    connection_ = connection;
    if (expected_.contains(connection)) return;
    expected_[connection] = {};
    if (transcript_.port) {
      group_.accept(connection,
                    {.transport = engine::Transport::tcp, .uid = 1000, .pid = {}, .address = "test"}, {},
                    effects_);
      collect();
    } else {
      group_.open_channel(connection, connection);
    }
  }

  void flush() {
    check();
    std::string_view input = input_;
    const std::size_t step = mode_ == Mode::bytes ? 1 : std::max<std::size_t>(1, input.size());
    for (; !input.empty(); input.remove_prefix(std::min(step, input.size()))) {
      group_.receive(connection_, input.substr(0, step), effects_);
      collect();
    }
    if (hang_up_) {
      group_.eof(connection_, effects_);
      collect();
    }
    expected_[connection_].text += run_expected_;
    input_.clear();
    run_expected_.clear();
    hang_up_ = false;
    pending_ = false;
  }

  void check() {
    for (const auto& entry : expected_) {
      INFO("connection ", entry.first);
      CHECK(received_[entry.first].text == entry.second.text);
      CHECK(received_[entry.first].closed == entry.second.closed);
    }
  }

  void collect() {
    std::vector<engine::SpawnQuery> queries;
    for (const engine::Effect& effect : effects_.list()) {
      if (const auto* send = engine::as<engine::Send>(effect)) {
        CHECK_FALSE(received_[send->connection].closed);
        received_[send->connection].text += effects_.bytes(*send);
      } else if (const auto* close = engine::as<engine::Close>(effect)) {
        received_[close->connection].closed = true;
      } else if (const auto* query = engine::as<engine::SpawnQuery>(effect)) {
        events_.push_back(text_of(*query));
        queries.push_back(*query);
      } else {
        add_event(*engine::as<engine::Event>(effect));
      }
    }
    effects_.clear();
    for (const engine::SpawnQuery& query : queries) {
      group_.answer_spawn(query.id, answer_to(query.spawn), effects_);
      collect();
    }
  }

  void add_event(const engine::Event& event) {
    const std::string rank = " rank=" + std::to_string(event.rank);
    switch (event.type) {
      case engine::EventType::aborted:
        events_.push_back("aborted" + rank + " exit_code=" + std::to_string(event.exit_code) +
                          " message=" + event.message);
        break;
      case engine::EventType::disconnected:
        if (event.lost) events_.push_back("lost" + rank);
        break;
      case engine::EventType::protocol_error:
        CHECK_FALSE(event.message.empty());
        events_.push_back("protocol_error" + rank);
        break;
      case engine::EventType::rejected:
        CHECK_FALSE(event.message.empty());
        events_.push_back("rejected");
        break;
      default:
        break;
    }
  }

  const Transcript& transcript_;
  Mode mode_;
  engine::ProcessGroup group_;
  engine::Effects effects_;
  std::map<std::uint32_t, Side> expected_;
  std::map<std::uint32_t, Side> received_;
  std::vector<std::string> expected_events_;
  std::vector<std::string> events_;
  // Consecutive C lines, which will be sent together.
  bool pending_ = false;
  std::uint32_t connection_ = 0;
  std::string input_;
  std::string run_expected_;
  bool hang_up_ = false;
};

TEST_CASE("golden transcripts") {
  const std::vector<Transcript> transcripts = read_all_transcripts(WIREUP_VECTORS);
  REQUIRE(transcripts.size() > 30);
  for (const Transcript& transcript : transcripts) {
    for (const Mode mode : {Mode::lines, Mode::bytes, Mode::pipelined}) {
      if (mode == Mode::pipelined && transcript.lockstep) continue;
      CAPTURE(static_cast<int>(mode));
      Runner(transcript, mode).run();
    }
  }
}

}  // namespace
}  // namespace wireup::test
