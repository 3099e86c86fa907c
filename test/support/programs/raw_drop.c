// raw_drop RANK: RANK closes its connection without finalize and lives on; the others wait.
#include "raw_pmi.h"

int main(int argc, char** argv) {
  if (argc < 2) die("usage: raw_drop RANK");
  const struct raw_pmi pmi = raw_start();
  raw_announce(&pmi);
  if (pmi.rank == number(argv[1])) close(pmi.fd);
  for (;;) pause();
}
