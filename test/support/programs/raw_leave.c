// raw_leave RANK: after a barrier, RANK finalizes and stays; the others enter the next barrier.
#include "raw_pmi.h"

int main(int argc, char** argv) {
  if (argc < 2) die("usage: raw_leave RANK");
  const struct raw_pmi pmi = raw_start();
  raw_announce(&pmi);
  if (pmi.rank == number(argv[1])) {
    raw_finalize(&pmi);
  } else {
    raw_barrier(&pmi);
  }
  for (;;) pause();
}
