// close_fds PROGRAM [ARGS...]: runs a program with fds 0 to 2 only, as a container runtime does.
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 2 || close_range(3, ~0U, 0) != 0) return 1;
  execvp(argv[1], argv + 1);
  perror(argv[1]);
  return 127;
}
