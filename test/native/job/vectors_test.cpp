// Runs every golden transcript against a Job in memory: line by line, byte by byte, pipelined.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "job/transcript.h"

namespace wireup::test {
namespace {

enum class Mode { lines, bytes, pipelined };

class Runner {
 public:
  Runner(const Transcript& transcript, Mode mode)
      : transcript_(transcript), mode_(mode), job_(options_of(transcript)) {}

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
      job_.accept(connection, {.transport = job::Transport::tcp, .uid = 1000, .pid = {}, .address = "test"},
                  {}, effects_);
      collect();
    } else {
      job_.open_channel(connection, connection);
    }
  }

  void flush() {
    check();
    std::string_view input = input_;
    const std::size_t step = mode_ == Mode::bytes ? 1 : std::max<std::size_t>(1, input.size());
    for (; !input.empty(); input.remove_prefix(std::min(step, input.size()))) {
      job_.receive(connection_, input.substr(0, step), effects_);
      collect();
    }
    if (hang_up_) {
      job_.eof(connection_, effects_);
      collect();
    }
    expected_[connection_].text += run_expected_;
    input_.clear();
    run_expected_.clear();
    hang_up_ = false;
    pending_ = false;
  }

  void check() {
    for (const auto& [connection, side] : expected_) {
      INFO("connection ", connection);
      CHECK(received_[connection].text == side.text);
      CHECK(received_[connection].closed == side.closed);
    }
  }

  void collect() {
    std::vector<job::Question> questions;
    for (const job::Effect& effect : effects_.list()) {
      if (const auto* send = job::as<job::Send>(effect)) {
        CHECK_FALSE(received_[send->connection].closed);
        received_[send->connection].text += effects_.bytes(*send);
      } else if (const auto* close = job::as<job::Close>(effect)) {
        received_[close->connection].closed = true;
      } else if (const auto* question = job::as<job::Question>(effect)) {
        events_.push_back(text_of(*question));
        questions.push_back(*question);
      } else {
        add_event(*job::as<job::Event>(effect));
      }
    }
    effects_.clear();
    for (const job::Question& question : questions) {
      job_.answer_spawn(question.id, answer_to(question.spawn), effects_);
      collect();
    }
  }

  void add_event(const job::Event& event) {
    const std::string rank = " rank=" + std::to_string(event.rank);
    switch (event.type) {
      case job::EventType::aborted:
        events_.push_back("aborted" + rank + " exit_code=" + std::to_string(event.exit_code) +
                          " message=" + event.message);
        break;
      case job::EventType::disconnected:
        if (event.lost) events_.push_back("lost" + rank);
        break;
      case job::EventType::protocol_error:
        CHECK_FALSE(event.message.empty());
        events_.push_back("protocol_error" + rank);
        break;
      case job::EventType::rejected:
        CHECK_FALSE(event.message.empty());
        events_.push_back("rejected");
        break;
      default:
        break;
    }
  }

  const Transcript& transcript_;
  Mode mode_;
  job::Job job_;
  job::Effects effects_;
  std::map<std::uint32_t, Side> expected_;
  std::map<std::uint32_t, Side> received_;
  std::vector<std::string> expected_events_;
  std::vector<std::string> events_;
  // The run of C lines that is to be sent next.
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
