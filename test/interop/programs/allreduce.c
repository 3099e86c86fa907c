// The sum and the maximum over all ranks, of one number and of many.
#include "check.h"

enum { kCount = 4096 };

int main(int argc, char** argv) {
  start(&argc, &argv);
  const long expected = (long)world_size * (world_size + 1) / 2;

  long mine = world_rank + 1;
  long sum = 0;
  MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  require(sum == expected, "sum %ld, expected %ld", sum, expected);

  long maximum = 0;
  MPI_Allreduce(&mine, &maximum, 1, MPI_LONG, MPI_MAX, MPI_COMM_WORLD);
  require(maximum == world_size, "maximum %ld, expected %d", maximum, world_size);

  static long values[kCount];
  static long sums[kCount];
  for (int i = 0; i < kCount; ++i) values[i] = mine * i;
  MPI_Allreduce(values, sums, kCount, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  for (int i = 0; i < kCount; ++i) {
    require(sums[i] == expected * i, "sums[%d] is %ld, expected %ld", i, sums[i], expected * i);
  }
  return finish("allreduce");
}
