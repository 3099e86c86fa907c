// abort_with RANK|all CODE: RANK, or every rank, calls MPI_Abort with CODE; the others wait.
#include <string.h>

#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int all = argc > 1 && strcmp(argv[1], "all") == 0;
  const int rank = all ? -1 : argument(argc, argv, 1);
  const int code = argument(argc, argv, 2);
  announce();
  if (all || world_rank == rank) MPI_Abort(MPI_COMM_WORLD, code);
  wait_for_end();
}
