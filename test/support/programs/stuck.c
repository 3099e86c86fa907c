// stuck RANK WHERE WHAT: this rank does WHAT for long (sleep, spin, read, stop), before MPI_Init or (WHERE is
// `barrier`) while the others are in MPI_Barrier. The others print "up" when they are on the way to where
// they wait.
#include <signal.h>
#include <string.h>

#include "check.h"

static void block(const char* what) {
  if (strcmp(what, "sleep") == 0) sleep(kLifetimeSeconds);
  if (strcmp(what, "stop") == 0) raise(SIGSTOP);
  if (strcmp(what, "read") == 0) {
    // Its stdin is a pipe into which no process writes.
    int ends[2];
    char byte;
    if (pipe(ends) == 0 && dup2(ends[0], 0) == 0 && read(0, &byte, 1) < 0) perror("read");
  }
  alarm(kLifetimeSeconds);
  for (volatile int spin = 1; spin;) continue;
}

static void print_up(void) {
  puts("up");
  fflush(stdout);
}

int main(int argc, char** argv) {
  require(argc == 4, "%d arguments", argc - 1);
  const char* rank = getenv("PMI_RANK");
  const int chosen = rank != NULL && atoi(rank) == atoi(argv[1]);
  const int before_init = strcmp(argv[2], "init") == 0;
  if (before_init) print_up();
  if (before_init && chosen) block(argv[3]);
  start(&argc, &argv);
  if (!before_init) print_up();
  if (chosen) block(argv[3]);
  MPI_Barrier(MPI_COMM_WORLD);
  return finish("stuck");
}
