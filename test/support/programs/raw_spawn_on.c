// raw_spawn_on RANK go|stay COMMAND [+ COMMAND]...: the rank spawns the commands together, and prints the rc
// of the reply. Then all ranks end (go), or wait forever (stay).
//
// A COMMAND is COUNT INFO PROGRAM [ARG]... INFO has the form KEY=VALUE[;KEY=VALUE]..., or is empty.
#include "raw_pmi.h"

// Sends the pairs of `info`.
static void send_info(const struct raw_pmi* pmi, char* info) {
  int count = 0;
  char* pairs[16];
  for (char* pair = strtok(info, ";"); pair != NULL; pair = strtok(NULL, ";")) pairs[count++] = pair;
  send_line(pmi, "info_num=%d", count);
  for (int i = 0; i < count; i++) {
    char* value = strchr(pairs[i], '=');
    if (value == NULL) die("an info pair without '='");
    *value++ = '\0';
    send_line(pmi, "info_key_%d=%s\ninfo_val_%d=%s", i, pairs[i], i, value);
  }
}

static void send_command(const struct raw_pmi* pmi, char** words, int count, int number_of_command, int all) {
  if (count < 3) die("a command without COUNT INFO PROGRAM");
  send_line(pmi, "mcmd=spawn\nnprocs=%d\nexecname=%s\ntotspawns=%d\nspawnssofar=%d\nargcnt=%d",
            number(words[0]), words[2], all, number_of_command, count - 3);
  for (int i = 3; i < count; i++) send_line(pmi, "arg%d=%s", i - 2, words[i]);
  send_line(pmi, "preput_num=0");
  send_info(pmi, words[1]);
  send_line(pmi, "endcmd");
}

static int is_plus(const char* word) { return strcmp(word, "+") == 0; }

int main(int argc, char** argv) {
  if (argc < 6) die("usage: raw_spawn_on RANK go|stay COMMAND [+ COMMAND]...");
  const struct raw_pmi pmi = raw_start();
  if (pmi.rank == number(argv[1])) {
    int all = 1;
    for (int i = 3; i < argc; i++) all += is_plus(argv[i]);
    for (int first = 3, sent = 0; sent < all; sent++) {
      int last = first;
      while (last < argc && !is_plus(argv[last])) last++;
      send_command(&pmi, argv + first, last - first, sent + 1, all);
      first = last + 1;
    }
    char line[kMaxLine];
    char rc[kMaxLine];
    receive_line(&pmi, "cmd=spawn_result ", line);
    attribute(line, "rc", rc);
    printf("rc=%s\n", rc);
    fflush(stdout);
  }
  if (strcmp(argv[2], "stay") == 0) {
    for (;;) pause();
  }
  raw_barrier(&pmi);
  raw_finalize(&pmi);
  return 0;
}
