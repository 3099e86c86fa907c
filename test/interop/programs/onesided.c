// One-sided: every rank puts its number into its place in every other rank's window, between two fences.
#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  // Memory of our own: MPICH 4.0.2 loses puts to a window of MPI_Win_allocate whose size is not a
  // multiple of 16 bytes.
  const size_t bytes = (size_t)world_size * sizeof(int);
  int* slots = malloc(bytes);
  for (int i = 0; i < world_size; ++i) slots[i] = -1;
  MPI_Win window;
  MPI_Win_create(slots, (MPI_Aint)bytes, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &window);
  const int mine = 1000 + world_rank;

  MPI_Win_fence(0, window);
  for (int target = 0; target < world_size; ++target) {
    MPI_Put(&mine, 1, MPI_INT, target, world_rank, 1, MPI_INT, window);
  }
  MPI_Win_fence(0, window);

  for (int i = 0; i < world_size; ++i) require(slots[i] == 1000 + i, "slot %d is %d", i, slots[i]);
  MPI_Win_free(&window);
  free(slots);
  return finish("onesided");
}
