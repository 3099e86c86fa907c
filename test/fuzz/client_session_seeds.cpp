// What servers say to a client, from the handshake to the end, to each kind of client.
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_input.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  constexpr std::string_view identity = "cmd=initack rc=0\ncmd=set size=2\ncmd=set rank=1\ncmd=set debug=0\n";
  constexpr std::string_view start =
      "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"
      "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n"
      "cmd=my_kvsname kvsname=kvs\ncmd=appnum appnum=0\ncmd=universe_size size=2\n";
  constexpr std::string_view answers[] = {
      "cmd=get_result rc=0 msg=success value=a value found=TRUE\n", "cmd=get_result rc=-1 msg=key_not_found\n",
      "cmd=put_result rc=0\n", "cmd=barrier_out\n", "cmd=publish_result rc=-1 msg=not_supported\n",
      "cmd=lookup_result rc=0 port=a port\n", "cmd=unknown_result rc=-1 msg=no\n", "cmd=finalize_ack\n"};
  std::vector<std::string> list;
  for (char kind = 0; kind < 16; ++kind) {
    std::string input(1, kind);
    if ((kind & 1) != 0) append_receive(input, 2, identity);
    append_receive(input, 1, start);
    for (std::uint32_t which = 0; const std::string_view answer : answers) append_receive(input, which++ % 4, answer);
    append_hang_up(input, 0);
    list.push_back(std::move(input));
  }
  return list;
}

}  // namespace wireup::fuzz
