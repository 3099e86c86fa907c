// mpi_in_child PROGRAM: rank 0 starts a child that inherits its PMI variables and is an MPI program too. The
// child must fail, and the job must go on.
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int main(int argc, char** argv) {
  const char* program = argv[1];
  start(&argc, &argv);
  if (world_rank == 0) {
    const pid_t child = fork();
    if (child == 0) {
      execl(program, program, (char*)NULL);
      _exit(0);
    }
    int status = 0;
    require(waitpid(child, &status, 0) == child, "the child cannot be waited for");
    require(!WIFEXITED(status) || WEXITSTATUS(status) != 0, "the child has become a rank");
  }
  MPI_Barrier(MPI_COMM_WORLD);
  int sum = 0;
  const int one = 1;
  MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  require(sum == world_size, "the sum is %d", sum);
  return finish("mpi_in_child");
}
