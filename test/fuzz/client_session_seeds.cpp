// Replies of servers from the handshake to the end, for each kind of client.
#include <string>
#include <string_view>
#include <vector>

#include "engine/transcript.h"
#include "fuzz_input.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  constexpr std::string_view identity = "cmd=initack rc=0\ncmd=set size=2\ncmd=set rank=1\ncmd=set debug=0\n";
  constexpr std::string_view start =
      "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n"
      "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n"
      "cmd=my_kvsname kvsname=kvs\ncmd=appnum appnum=0\ncmd=universe_size size=2\n";
  constexpr std::string_view answers[] = {"cmd=get_result rc=0 msg=success value=a value found=TRUE\n",
                                          "cmd=get_result rc=-1 msg=key_not_found\n",
                                          "cmd=put_result rc=0\n",
                                          "cmd=barrier_out\n",
                                          "cmd=publish_result rc=-1 msg=not_supported\n",
                                          "cmd=lookup_result rc=0 port=a port\n",
                                          "cmd=unknown_result rc=-1 msg=no\n",
                                          "cmd=finalize_ack\n"};
  std::vector<std::string> list;
  for (char kind = 0; kind < 16; ++kind) {
    std::string input(1, kind);
    if ((kind & 1) != 0) append_receive(input, 2, identity);
    append_receive(input, 1, start);
    for (std::uint32_t which = 0; const std::string_view answer : answers)
      append_receive(input, which++ % 4, answer);
    append_hang_up(input, 0);
    list.push_back(std::move(input));
  }
  // PMI-2, on a channel and on a port.
  constexpr std::string_view frames[] = {
      "cmd=fullinit-response;rc=0;pmi-version=2;pmi-subversion=0;rank=1;size=2;appnum=0;pmiverbose=FALSE;",
      "cmd=job-getid-response;rc=0;jobid=kvs;",
      "cmd=info-getjobattr-response;rc=0;found=TRUE;value=2;",
      "cmd=kvs-get-response;rc=0;found=FALSE;",
      "cmd=kvs-put-response;rc=0;",
      "cmd=kvs-get-response;thrid=1;rc=0;found=TRUE;value=a;;b;",
      "cmd=kvs-fence-response;rc=0;",
      "cmd=spawn-response;rc=0;jobid=child;errcodes=0,1;",
      "cmd=info-getnodeattr-response;rc=0;found=TRUE;value=v;",
      "cmd=name-lookup-response;rc=0;value=port;",
      "cmd=unknown-response;rc=-1;errmsg=no;",
      "cmd=finalize-response;rc=0;"};
  for (char kind : {16, 17, 24, 25}) {
    std::string input(1, kind);
    append_receive(input, 1, "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n");
    for (std::uint32_t which = 0; const std::string_view frame : frames) {
      append_receive(input, which++ % 4, test::resolve_frame(frame));
    }
    append_hang_up(input, 0);
    list.push_back(std::move(input));
  }
  return list;
}

}  // namespace wireup::fuzz
