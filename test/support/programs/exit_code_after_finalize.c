// exit_code_after_finalize RANK CODE [wait]: all ranks finalize; then RANK exits with CODE. The others exit
// with 0 or, with `wait`, wait.
#include <string.h>

#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int rank = argument(argc, argv, 1);
  const int code = argument(argc, argv, 2);
  announce();
  MPI_Finalize();
  if (world_rank == rank) return code;
  if (argc > 3 && strcmp(argv[3], "wait") == 0) wait_for_end();
  return 0;
}
