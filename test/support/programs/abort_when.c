// abort_when RANK before|during|after CODE: RANK calls MPI_Abort with CODE before it enters a collective of
// all ranks, while the others are in it, or after all have left it.
#include <string.h>

#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int rank = argument(argc, argv, 1);
  const char* when = argc > 2 ? argv[2] : "";
  const int code = argument(argc, argv, 3);
  int sum = world_rank;
  if (strcmp(when, "after") == 0) MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  if (world_rank == rank) {
    // For `during`: every other rank has announced that it is about to enter.
    const int others = strcmp(when, "during") == 0 ? world_size - 1 : 0;
    for (int i = 0; i < others; ++i)
      MPI_Recv(NULL, 0, MPI_INT, MPI_ANY_SOURCE, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  if (strcmp(when, "during") == 0) MPI_Send(NULL, 0, MPI_INT, rank, 0, MPI_COMM_WORLD);
  if (strcmp(when, "before") == 0) wait_for_end();
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  wait_for_end();
}
