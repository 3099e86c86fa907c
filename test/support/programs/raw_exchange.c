// The requests that MPI makes at its start, without MPI: every rank puts its business card, waits in a
// barrier, and gets the business cards of all ranks.
#include "raw_pmi.h"

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  char value[kMaxLine];
  char expected[64];
  send_line(&pmi, "cmd=put kvsname=%s key=card-%d value=card of rank %d", pmi.kvsname, pmi.rank, pmi.rank);
  receive_line(&pmi, "cmd=put_result rc=0", line);
  raw_barrier(&pmi);
  for (int rank = 0; rank < pmi.size; ++rank) {
    send_line(&pmi, "cmd=get kvsname=%s key=card-%d", pmi.kvsname, rank);
    receive_line(&pmi, "cmd=get_result rc=0", line);
    attribute(line, "value", value);
    snprintf(expected, sizeof expected, "card of rank %d", rank);
    if (strcmp(value, expected) != 0) die("the card of rank %d is '%s'", rank, value);
  }
  raw_barrier(&pmi);
  raw_finalize(&pmi);
  printf("raw_exchange: rank %d of %d ok\n", pmi.rank, pmi.size);
  return 0;
}
