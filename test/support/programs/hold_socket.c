// hold_socket RANK CODE: RANK leaves a child that holds all its fds open, the PMI connection included, and
// exits with CODE without MPI_Finalize. A launcher that waits for the end of the connection would wait
// forever.
#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int rank = argument(argc, argv, 1);
  const int code = argument(argc, argv, 2);
  announce();
  if (world_rank == rank) {
    const pid_t child = fork();
    require(child >= 0, "fork failed");
    if (child == 0) {
      // fork() does not pass on an alarm.
      alarm(kLifetimeSeconds);
      wait_for_end();
    }
    printf("child pid %d\n", (int)child);
    fflush(stdout);
    _exit(code);
  }
  wait_for_end();
}
