// close_fds PROGRAM [ARGS...]: as a container's runtime does, hands on nothing but fds 0 to 2.
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc < 2 || close_range(3, ~0U, 0) != 0) return 1;
  execvp(argv[1], argv + 1);
  perror(argv[1]);
  return 127;
}
