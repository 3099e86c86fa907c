// raw_rounds FILE: in each round every rank puts a business card, waits in a barrier, and compares the cards
// of all ranks byte by byte. Before the first round it prints its rank and pid. The rounds end when rank 0
// finds that FILE exists.
#include "raw_pmi.h"

enum { kCardBytes = 128, kPause = 5000 };

// Every byte after the colon depends on the round and the rank.
static void make_card(int round, int rank, char last, char card[kCardBytes + 1]) {
  const int length = snprintf(card, kCardBytes + 1, "%c, round %d of rank %d:", last, round, rank);
  for (int i = length; i < kCardBytes; ++i) card[i] = (char)('a' + (round + rank + i) % 26);
  card[kCardBytes] = '\0';
}

// Returns the first byte of the card of rank 0.
static char play(const struct raw_pmi* pmi, int round, char last) {
  char line[kMaxLine];
  char value[kMaxLine];
  char card[kCardBytes + 1];
  char first = last;
  make_card(round, pmi->rank, last, card);
  send_line(pmi, "cmd=put kvsname=%s key=card-%d-%d value=%s", pmi->kvsname, round, pmi->rank, card);
  receive_line(pmi, "cmd=put_result rc=0", line);
  raw_barrier(pmi);
  for (int rank = 0; rank < pmi->size; ++rank) {
    send_line(pmi, "cmd=get kvsname=%s key=card-%d-%d", pmi->kvsname, round, rank);
    receive_line(pmi, "cmd=get_result rc=0", line);
    attribute(line, "value", value);
    if (rank == 0) first = value[0];
    make_card(round, rank, rank == 0 ? first : 'n', card);
    if (strcmp(value, card) != 0) die("the card of rank %d in round %d is '%s'", rank, round, value);
  }
  return first;
}

int main(int argc, char** argv) {
  if (argc < 2) die("usage: raw_rounds FILE");
  const struct raw_pmi pmi = raw_start();
  printf("rank %d pid %d\n", pmi.rank, (int)getpid());
  fflush(stdout);
  for (int round = 0;; ++round) {
    // 'y': it is the last round. Only the card of rank 0 counts.
    const char last = pmi.rank == 0 && access(argv[1], F_OK) == 0 ? 'y' : 'n';
    if (play(&pmi, round, last) == 'y') break;
    // The rounds use a processor only for a part of the time.
    if (pmi.rank == 0) usleep(kPause);
  }
  raw_finalize(&pmi);
  printf("raw_rounds: rank %d of %d ok\n", pmi.rank, pmi.size);
  return 0;
}
