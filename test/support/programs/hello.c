// Every rank checks its rank and size, which must be the same from MPI as in the environment, if they are set
// there. Prints them with the host name.
#include <string.h>

#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  require(world_rank >= 0 && world_rank < world_size, "rank %d of size %d", world_rank, world_size);

  const char* pmi_rank = getenv("PMI_RANK");
  const char* pmi_size = getenv("PMI_SIZE");
  require(pmi_rank == NULL || atoi(pmi_rank) == world_rank, "PMI_RANK is %s", pmi_rank);
  require(pmi_size == NULL || atoi(pmi_size) == world_size, "PMI_SIZE is %s", pmi_size);

  char name[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  MPI_Get_processor_name(name, &length);
  require(length > 0, "no processor name");
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  require(strcmp(name, host) == 0, "processor name %s on host %s", name, host);

  // Every rank exists once. If two processes had the same rank, this would fail, or MPI_Init would hang.
  int* ranks = calloc((size_t)world_size, sizeof *ranks);
  MPI_Allgather(&world_rank, 1, MPI_INT, ranks, 1, MPI_INT, MPI_COMM_WORLD);
  for (int i = 0; i < world_size; ++i) require(ranks[i] == i, "place %d holds rank %d", i, ranks[i]);
  free(ranks);
  return finish("hello");
}
