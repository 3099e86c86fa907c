// raw_abort RANK CODE [MESSAGE]: that rank says abort, as a client without MPI does; the others wait. None
// ends by itself.
#include "raw_pmi.h"

int main(int argc, char** argv) {
  if (argc < 3) die("usage: raw_abort RANK CODE [MESSAGE]");
  const struct raw_pmi pmi = raw_start();
  raw_announce(&pmi);
  if (pmi.rank == number(argv[1])) {
    if (argc > 3) {
      say(&pmi, "cmd=abort exitcode=%d error_msg=%s", number(argv[2]), argv[3]);
    } else {
      say(&pmi, "cmd=abort exitcode=%d", number(argv[2]));
    }
  }
  for (;;) pause();
}
