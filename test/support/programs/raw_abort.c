// raw_abort RANK CODE [MESSAGE]: RANK sends abort, as a client without MPI does, and waits as the others do.
// No rank ends by itself.
#include "raw_pmi.h"

int main(int argc, char** argv) {
  if (argc < 3) die("usage: raw_abort RANK CODE [MESSAGE]");
  const struct raw_pmi pmi = raw_start();
  raw_announce(&pmi);
  if (pmi.rank == number(argv[1])) {
    if (argc > 3) {
      send_line(&pmi, "cmd=abort exitcode=%d error_msg=%s", number(argv[2]), argv[3]);
    } else {
      send_line(&pmi, "cmd=abort exitcode=%d", number(argv[2]));
    }
  }
  for (;;) pause();
}
