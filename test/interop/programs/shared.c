// All ranks share a node: the shared-memory communicator holds every rank in world order, and memory written
// by one rank is read by the next through a plain pointer.
#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  int rank = -1;
  int size = -1;
  MPI_Comm_rank(node, &rank);
  MPI_Comm_size(node, &size);
  require(size == world_size, "the shared communicator has %d of %d ranks", size, world_size);
  require(rank == world_rank, "rank %d in the shared communicator", rank);

  int* mine = NULL;
  MPI_Win window;
  MPI_Win_allocate_shared(sizeof(int), sizeof(int), MPI_INFO_NULL, node, &mine, &window);
  MPI_Win_lock_all(MPI_MODE_NOCHECK, window);
  *mine = 5000 + rank;
  MPI_Win_sync(window);
  MPI_Barrier(node);
  MPI_Win_sync(window);
  const int next = (rank + 1) % size;
  MPI_Aint bytes = 0;
  int unit = 0;
  int* theirs = NULL;
  MPI_Win_shared_query(window, next, &bytes, &unit, &theirs);
  require(*theirs == 5000 + next, "the memory of rank %d holds %d", next, *theirs);
  MPI_Win_unlock_all(window);

  MPI_Win_free(&window);
  MPI_Comm_free(&node);
  printf("shared size %d\n", size);
  return finish("shared");
}
