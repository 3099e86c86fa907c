// raw_store COUNT FOLDER: every rank puts COUNT long values and waits in a barrier. Rank 0 enters it when the
// file FOLDER/enter exists. Then each rank gets some values of each other rank, prints "released", and ends
// when FOLDER/end exists.
#include "raw_pmi.h"

enum { kValueBytes = 1000, kLook = 10000 };

static void make_value(int rank, int number, char value[kValueBytes + 1]) {
  const int length = snprintf(value, kValueBytes + 1, "value %d of rank %d:", number, rank);
  for (int i = length; i < kValueBytes; ++i) value[i] = (char)('a' + (rank + number + i) % 26);
  value[kValueBytes] = '\0';
}

static void wait_for(const char* folder, const char* name) {
  char path[kMaxLine];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  while (access(path, F_OK) != 0) usleep(kLook);
}

int main(int argc, char** argv) {
  if (argc < 3) die("usage: raw_store COUNT FOLDER");
  const int count = number(argv[1]);
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  char value[kMaxLine];
  char expected[kValueBytes + 1];
  for (int i = 0; i < count; ++i) {
    make_value(pmi.rank, i, expected);
    send_line(&pmi, "cmd=put kvsname=%s key=%d-%d value=%s", pmi.kvsname, pmi.rank, i, expected);
    receive_line(&pmi, "cmd=put_result rc=0", line);
  }
  if (pmi.rank == 0) wait_for(argv[2], "enter");
  raw_barrier(&pmi);
  for (int rank = 0; rank < pmi.size; ++rank) {
    for (int i = rank % 7; i < count; i += 97) {
      send_line(&pmi, "cmd=get kvsname=%s key=%d-%d", pmi.kvsname, rank, i);
      receive_line(&pmi, "cmd=get_result rc=0", line);
      attribute(line, "value", value);
      make_value(rank, i, expected);
      if (strcmp(value, expected) != 0) die("value %d of rank %d is '%s'", i, rank, value);
    }
  }
  puts("released");
  fflush(stdout);
  wait_for(argv[2], "end");
  raw_finalize(&pmi);
  return 0;
}
