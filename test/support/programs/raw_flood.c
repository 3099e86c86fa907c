// raw_flood WHAT COUNT: every rank sends one kind of request COUNT times, or without end if COUNT is 0, as
// fast as the replies come, and finalizes. WHAT: `nonsense` (batches of 200 unknown commands), `barriers`
// (batches of 200, for a job of one rank), `put` (a new key with a value of 1,000 bytes; it stops at the
// first refusal, and prints that), `unread` (batches of 200 requests whose replies it does not read). If its
// connection is closed, a rank prints `cut off` and sleeps.
#include "raw_pmi.h"

enum { kBatch = 200 };

static void cut_off(void) {
  printf("cut off\n");
  fflush(stdout);
  for (;;) pause();
}

// Reads up to `lines` newlines.
static void skip_replies(const struct raw_pmi* pmi, int lines) {
  char buffer[1 << 16];
  while (lines > 0) {
    const ssize_t size = read(pmi->fd, buffer, sizeof buffer);
    if (size <= 0) cut_off();
    for (ssize_t i = 0; i < size; ++i) lines -= buffer[i] == '\n';
  }
}

static void send_batch(const struct raw_pmi* pmi, const char* line) {
  char batch[kBatch * 32];
  const size_t length = strlen(line);
  for (size_t i = 0; i < kBatch; ++i) memcpy(batch + length * i, line, length);
  for (size_t sent = 0; sent < kBatch * length;) {
    const ssize_t size = send(pmi->fd, batch + sent, kBatch * length - sent, MSG_NOSIGNAL);
    if (size <= 0) cut_off();
    sent += (size_t)size;
  }
}

// Returns whether the put was accepted.
static int put(const struct raw_pmi* pmi, long number) {
  char value[1000];
  char line[kMaxLine];
  memset(value, 'x', sizeof value - 1);
  value[sizeof value - 1] = '\0';
  send_line(pmi, "cmd=put kvsname=%s key=k-%d-%ld value=%s", pmi->kvsname, pmi->rank, number, value);
  receive_line(pmi, "cmd=put_result ", line);
  if (strstr(line, " rc=0") != NULL) return 1;
  printf("%s\n", line);
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 3) die("usage: raw_flood WHAT COUNT");
  const struct raw_pmi pmi = raw_start();
  const long count = number(argv[2]);
  for (long i = 0; count == 0 || i < count; ++i) {
    const int barriers = strcmp(argv[1], "barriers") == 0;
    if (strcmp(argv[1], "put") == 0) {
      if (!put(&pmi, i)) break;
    } else if (strcmp(argv[1], "unread") == 0) {
      send_batch(&pmi, "cmd=get_my_kvsname\n");
    } else {
      send_batch(&pmi, barriers ? "cmd=barrier_in\n" : "cmd=foo\n");
      skip_replies(&pmi, kBatch);
    }
  }
  raw_finalize(&pmi);
}
