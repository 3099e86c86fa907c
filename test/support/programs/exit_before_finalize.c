// exit_before_finalize RANK CODE: RANK exits with CODE after init and without finalize; the others wait.
#include "check.h"

int main(int argc, char** argv) {
  start(&argc, &argv);
  const int rank = argument(argc, argv, 1);
  const int code = argument(argc, argv, 2);
  announce();
  if (world_rank == rank) _exit(code);
  wait_for_end();
}
