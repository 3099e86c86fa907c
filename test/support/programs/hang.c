// Makes the main thread of another process hang, while its other threads run on. Prints a line when it hangs,
// and ends with the process.
//
// usage: hang PID
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const pid_t pid = atoi(argv[1]);
  // Other than PTRACE_ATTACH, these stop this thread only.
  if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0) {
    perror("ptrace");
    return 1;
  }
  int status = 0;
  if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) return 1;
  puts("hangs");
  fflush(stdout);
  // The process stays as it is until it is killed. Its parent can reap it only after this.
  while (waitpid(pid, &status, __WALL) != pid || WIFSTOPPED(status)) {
    if (errno == ECHILD) return 0;
  }
  return 0;
}
