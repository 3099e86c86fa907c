// A program that knows nothing of PMI.
#include <stdio.h>

int main(void) {
  puts("no pmi");
  return 0;
}
