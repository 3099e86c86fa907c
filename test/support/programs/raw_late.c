// raw_late: the rank's child finalizes on the rank's own connection. Then the rank puts a key, prints the
// answer, and enters a barrier; prints `hung up` when the connection ends there.
#include <sys/wait.h>

#include "raw_pmi.h"

int main(void) {
  const struct raw_pmi pmi = raw_start();
  char line[kMaxLine];
  const pid_t child = fork();
  if (child < 0) die("fork failed");
  if (child == 0) {
    raw_finalize(&pmi);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  say(&pmi, "cmd=put kvsname=%s key=late value=x", pmi.kvsname);
  hear(&pmi, "cmd=put_result", line);
  puts(line);
  say(&pmi, "cmd=barrier_in");
  puts(read(pmi.fd, line, 1) == 0 ? "hung up" : "answered");
}
