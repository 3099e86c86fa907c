// print_lines COUNT: prints COUNT numbered lines on both streams, in blocks on stdout and one by one on
// stderr.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  const int count = argc > 1 ? atoi(argv[1]) : 0;
  const char* rank = getenv("PMI_RANK");
  for (int i = 0; i < count; ++i) {
    printf("out %s %d\n", rank, i);
    fprintf(stderr, "err %s %d\n", rank, i);
  }
  return 0;
}
