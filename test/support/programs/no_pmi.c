// A program that does not use PMI.
#include <stdio.h>

int main(void) {
  puts("no pmi");
  return 0;
}
