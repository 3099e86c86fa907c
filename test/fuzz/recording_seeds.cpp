// Connections of all versions, with and without PMI_IDs, and bytes that are no messages.
#include <string>
#include <utility>
#include <vector>

#include "fuzz_input.h"

namespace wireup::fuzz {
namespace {

using Reads = std::vector<std::pair<char, std::string>>;

std::string encode(const Reads& reads) {
  std::string input(1, '\x07');
  for (const auto& [side, bytes] : reads) {
    input += static_cast<char>(bytes.size() << 1 | (side == 'S' ? 1U : 0U));
    input += bytes;
  }
  return input;
}

}  // namespace

std::vector<std::string> seeds() {
  const std::string init_2 = "cmd=init pmi_version=2 pmi_subversion=0\n";
  const std::string reply_2 = "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n";
  return {
      encode({{'C', "cmd=initack pmiid=1234567\n"},
              {'S', "cmd=initack\ncmd=set size=1\ncmd=set rank=0\n"},
              {'C', "cmd=init pmi_version=1 pmi_subversion=1\n"},
              {'S', "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"}}),
      encode({{'C', init_2},
              {'S', reply_2},
              {'C', "    38cmd=fullinit;pmirank=1234567;threaded=0;"},
              {'S', "32    cmd=fullinit-response;rank=0;rc=0;"},
              {'C', "    13cmd=finalize;"}}),
      encode({{'C', init_2}, {'C', "  x   abc"}, {'S', "cmd=response_to_init pmi_version=1 rc=-1\n"}}),
      encode({{'C', std::string(120, 'x')}, {'C', "\n\n\xff\xc3\xa9\"\\\x01\n"}, {'C', "cmd=unfinished"}}),
  };
}

}  // namespace wireup::fuzz
