// nonblocking FDS PROGRAM [ARGS]: sets O_NONBLOCK on each of the fds, which are one digit each, and executes
// the program.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  for (const char* fd = argv[1]; *fd != '\0'; fd++) {
    const int flags = fcntl(*fd - '0', F_GETFL);
    if (flags < 0 || fcntl(*fd - '0', F_SETFL, flags | O_NONBLOCK) < 0) return perror("fcntl"), 1;
  }
  execvp(argv[2], argv + 2);
  perror(argv[2]);
  return 127;
}
