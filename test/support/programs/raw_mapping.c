// Prints the value of PMI_process_mapping that the server sends to this rank.
#include "raw_pmi.h"

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  char value[kMaxLine] = "none";
  send_line(&pmi, "cmd=get kvsname=%s key=PMI_process_mapping", pmi.kvsname);
  receive_line(&pmi, "cmd=get_result rc=", line);
  if (strncmp(line, "cmd=get_result rc=0", strlen("cmd=get_result rc=0")) == 0)
    attribute(line, "value", value);
  raw_barrier(&pmi);
  raw_finalize(&pmi);
  printf("rank %d of %d mapping %s\n", pmi.rank, pmi.size, value);
  return 0;
}
