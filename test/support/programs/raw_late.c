// raw_late: the rank's child finalizes on the rank's connection. Then the rank puts a key, prints the reply,
// and enters a barrier; it prints `hung up` if the connection is closed there.
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
  send_line(&pmi, "cmd=put kvsname=%s key=late value=x", pmi.kvsname);
  receive_line(&pmi, "cmd=put_result", line);
  puts(line);
  send_line(&pmi, "cmd=barrier_in");
  puts(read(pmi.fd, line, 1) == 0 ? "hung up" : "answered");
}
