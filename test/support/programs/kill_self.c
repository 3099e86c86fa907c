// kill_self RANK SIGNAL: RANK sends itself SIGNAL after MPI_Init; the others wait.
#include <signal.h>
#include <sys/resource.h>

#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int rank = argument(argc, argv, 1);
  const int signal_number = argument(argc, argv, 2);
  announce();
  if (world_rank == rank) {
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    // MPICH's transport handles the signals of crashes to print a trace.
    signal(signal_number, SIG_DFL);
    kill(getpid(), signal_number);
  }
  wait_for_end();
}
