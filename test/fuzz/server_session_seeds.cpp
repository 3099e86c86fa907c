// The client side of the golden transcripts.
#include <string>
#include <vector>

#include "engine/transcript.h"
#include "fuzz_input.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  std::vector<std::string> list;
  for (const test::Transcript& transcript : test::read_all_transcripts(WIREUP_VECTORS)) {
    std::string input;
    for (const test::TranscriptLine& line : transcript.lines) {
      const std::uint32_t connection = (line.connection + (transcript.port ? 2 : 0)) % kConnections;
      if (line.kind == test::TranscriptLine::Kind::send) append_receive(input, connection, line.text);
      if (line.kind == test::TranscriptLine::Kind::hang_up) append_hang_up(input, connection);
    }
    list.push_back(std::move(input));
  }
  // A barrier of all three ranks.
  std::string barrier;
  append_receive(barrier, 2, "cmd=initack pmiid=" + std::to_string(test::pmi_id_of(2)) + "\n");
  for (std::uint32_t connection = 0; connection < kRanks; ++connection) {
    append_receive(barrier, connection, "cmd=init pmi_version=1 pmi_subversion=1\ncmd=barrier_in\n");
  }
  list.push_back(std::move(barrier));
  return list;
}

}  // namespace wireup::fuzz
