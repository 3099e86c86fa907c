// A token goes round the ring, every rank adds itself to it. It is long: past the limit of eager sends.
#include "check.h"

enum { kCount = 1 << 16 };

int main(int argc, char** argv) {
  start(&argc, &argv);
  static long token[kCount];
  const int next = (world_rank + 1) % world_size;
  const int previous = (world_rank + world_size - 1) % world_size;
  if (world_rank == 0) {
    for (int i = 0; i < kCount; ++i) token[i] = i;
    MPI_Request sent;
    static long received[kCount];
    MPI_Isend(token, kCount, MPI_LONG, next, 7, MPI_COMM_WORLD, &sent);
    MPI_Status status;
    MPI_Recv(received, kCount, MPI_LONG, previous, 7, MPI_COMM_WORLD, &status);
    MPI_Wait(&sent, MPI_STATUS_IGNORE);
    require(status.MPI_SOURCE == previous, "token came from %d", status.MPI_SOURCE);
    const long added = (long)world_size * (world_size - 1) / 2;
    for (int i = 0; i < kCount; ++i) require(received[i] == i + added, "token[%d] is %ld", i, received[i]);
  } else {
    MPI_Recv(token, kCount, MPI_LONG, previous, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    for (int i = 0; i < kCount; ++i) token[i] += world_rank;
    MPI_Send(token, kCount, MPI_LONG, next, 7, MPI_COMM_WORLD);
  }
  return finish("ring");
}
