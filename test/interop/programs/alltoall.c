// Every rank sends every other rank a block that only this pair can have.
#include "check.h"

enum { kBlock = 16 };

static int expected(int from, int to, int index) { return (from * world_size + to) * kBlock + index; }

int main(int argc, char** argv) {
  start(&argc, &argv);
  const size_t bytes = (size_t)world_size * kBlock * sizeof(int);
  int* sent = malloc(bytes);
  int* received = malloc(bytes);
  for (int to = 0; to < world_size; ++to) {
    for (int i = 0; i < kBlock; ++i) sent[to * kBlock + i] = expected(world_rank, to, i);
  }
  MPI_Alltoall(sent, kBlock, MPI_INT, received, kBlock, MPI_INT, MPI_COMM_WORLD);
  for (int from = 0; from < world_size; ++from) {
    for (int i = 0; i < kBlock; ++i) {
      const int value = received[from * kBlock + i];
      require(value == expected(from, world_rank, i), "block of rank %d, place %d: %d", from, i, value);
    }
  }
  free(sent);
  free(received);
  return finish("alltoall");
}
