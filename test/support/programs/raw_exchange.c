// The requests that MPI makes at its start, without MPI: every rank puts its business card, waits in a
// barrier, and gets the business cards of all ranks.
#include "raw_pmi.h"

// MPICH's business cards are about this long.
enum { kCardBytes = 128 };

// Every byte depends on the rank.
static void make_card(int rank, char card[kCardBytes + 1]) {
  const int length = snprintf(card, kCardBytes + 1, "card of rank %d:", rank);
  for (int i = length; i < kCardBytes; ++i) card[i] = (char)('a' + (rank + i) % 26);
  card[kCardBytes] = '\0';
}

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  char value[kMaxLine];
  char card[kCardBytes + 1];
  make_card(pmi.rank, card);
  send_line(&pmi, "cmd=put kvsname=%s key=card-%d value=%s", pmi.kvsname, pmi.rank, card);
  receive_line(&pmi, "cmd=put_result rc=0", line);
  raw_barrier(&pmi);
  for (int rank = 0; rank < pmi.size; ++rank) {
    send_line(&pmi, "cmd=get kvsname=%s key=card-%d", pmi.kvsname, rank);
    receive_line(&pmi, "cmd=get_result rc=0", line);
    attribute(line, "value", value);
    make_card(rank, card);
    if (strcmp(value, card) != 0) die("the card of rank %d is '%s'", rank, value);
  }
  raw_barrier(&pmi);
  raw_finalize(&pmi);
  printf("raw_exchange: rank %d of %d ok\n", pmi.rank, pmi.size);
  return 0;
}
