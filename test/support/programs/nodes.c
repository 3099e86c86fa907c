// Prints, one line a rank, the ranks that share memory with it and its processor name. A rank fails if
// another rank of its node has a different name, or a rank of another node the same name.
#include <string.h>

#include "check.h"

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, size, local_rank, local_size, length, *appnum, has_appnum;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &appnum, &has_appnum);
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
  MPI_Comm_rank(node, &local_rank);
  MPI_Comm_size(node, &local_size);
  char name[MPI_MAX_PROCESSOR_NAME] = "";
  MPI_Get_processor_name(name, &length);

  // The first rank of a node identifies it.
  int first = rank;
  MPI_Bcast(&first, 1, MPI_INT, 0, node);
  int* firsts = malloc(sizeof(int) * size);
  char* names = malloc((size_t)size * MPI_MAX_PROCESSOR_NAME);
  MPI_Allgather(&first, 1, MPI_INT, firsts, 1, MPI_INT, MPI_COMM_WORLD);
  MPI_Allgather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, names, MPI_MAX_PROCESSOR_NAME, MPI_CHAR,
                MPI_COMM_WORLD);
  int disagree = 0;
  for (int other = 0; other < size; ++other) {
    const int same_name = strcmp(names + (size_t)other * MPI_MAX_PROCESSOR_NAME, name) == 0;
    if (same_name != (firsts[other] == first)) disagree = 1;
  }
  printf("rank %d of %d app %d node of %d: %d of %d on %s%s\n", rank, size, has_appnum ? *appnum : -1, first,
         local_rank, local_size, name, disagree ? " DISAGREE" : "");
  MPI_Comm_free(&node);
  MPI_Finalize();
  return 0;
}
