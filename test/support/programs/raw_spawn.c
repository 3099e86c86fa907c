// raw_spawn COUNT: every rank spawns COUNT processes that sleep, and prints the rc of the reply. Then rank 0
// spawns one process that ends at once, and prints the rc again. Then all ranks wait.
#include "raw_pmi.h"

static void spawn(const struct raw_pmi* pmi, int count, const char* command, const char* argument) {
  char line[kMaxLine];
  char rc[kMaxLine];
  send_line(
      pmi,
      "mcmd=spawn\nnprocs=%d\nexecname=%s\ntotspawns=1\nspawnssofar=1\nargcnt=1\narg1=%s\npreput_num=0\ninfo_"
      "num=0\nendcmd",
      count, command, argument);
  receive_line(pmi, "cmd=spawn_result ", line);
  attribute(line, "rc", rc);
  printf("spawn of %d: rc=%s\n", count, rc);
  fflush(stdout);
}

int main(int argc, char** argv) {
  if (argc != 2) die("usage: raw_spawn COUNT");
  const struct raw_pmi pmi = raw_start();
  spawn(&pmi, number(argv[1]), "sleep", "1000");
  raw_barrier(&pmi);
  if (pmi.rank == 0) spawn(&pmi, 1, "sleep", "0");
  for (;;) pause();
}
