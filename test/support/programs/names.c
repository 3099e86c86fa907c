// Two jobs that meet by a published name. `names accept NAME` opens a port, publishes it and accepts; `names
// connect NAME` looks it up and connects. Both print the members of the joined communicator.
#include <string.h>

#include "check.h"

static void print_members(MPI_Comm other, int high) {
  int there = 0;
  MPI_Comm_remote_size(other, &there);
  MPI_Comm all;
  MPI_Intercomm_merge(other, high, &all);
  int size = 0;
  int rank = 0;
  MPI_Comm_size(all, &size);
  MPI_Comm_rank(all, &rank);
  int sum = 0;
  MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, all);
  require(size == world_size + there, "%d ranks together, expected %d", size, world_size + there);
  require(sum == size * (size - 1) / 2, "the sum of all ranks is %d", sum);
  if (world_rank == 0) printf("together: %d\n", size);
  MPI_Comm_free(&all);
  MPI_Comm_disconnect(&other);
}

int main(int argc, char** argv) {
  start(&argc, &argv);
  require(argc == 3, "expected accept or connect, and a name");
  const char* name = argv[2];
  const int accepts = strcmp(argv[1], "accept") == 0;
  char port[MPI_MAX_PORT_NAME] = "";
  MPI_Comm other;
  if (accepts) {
    if (world_rank == 0) {
      MPI_Open_port(MPI_INFO_NULL, port);
      MPI_Publish_name(name, MPI_INFO_NULL, port);
      printf("published\n");
      fflush(stdout);
    }
    MPI_Comm_accept(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &other);
  } else {
    if (world_rank == 0) {
      MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
      const int error = MPI_Lookup_name("nobody's", MPI_INFO_NULL, port);
      int class = MPI_SUCCESS;
      MPI_Error_class(error, &class);
      require(class == MPI_ERR_NAME, "a name that is not there is error class %d", class);
      MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
      MPI_Lookup_name(name, MPI_INFO_NULL, port);
    }
    MPI_Comm_connect(port, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &other);
  }
  print_members(other, !accepts);
  if (accepts && world_rank == 0) {
    MPI_Unpublish_name(name, MPI_INFO_NULL, port);
    MPI_Close_port(port);
  }
  return finish("names");
}
