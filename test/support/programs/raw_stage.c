// raw_stage STAGE: every rank leaves an orphan that ignores signals in a session of its own, goes to the
// stage (connected, first-barrier, barrier, running or finalizing), prints that, and stays. At `barrier`,
// rank 0 is not in the barrier.
#include <signal.h>

#include "raw_pmi.h"

static void leave_orphan(void) {
  const pid_t child = fork();
  if (child < 0) die("fork failed");
  if (child > 0) return;
  setsid();
  if (fork() != 0) _exit(0);
  for (int number = 1; number < 32; ++number) signal(number, SIG_IGN);
  signal(SIGALRM, SIG_DFL);
  // The orphan must not hold open an fd whose end of file another process waits for.
  for (int fd = 0; fd < 64; ++fd) close(fd);
  alarm(kLifetimeSeconds);
  for (;;) pause();
}

int main(int argc, char** argv) {
  if (argc < 2) die("usage: raw_stage STAGE");
  const char* stage = argv[1];
  leave_orphan();
  if (strcmp(stage, "connected") == 0) {
    alarm(kLifetimeSeconds);
    if (getenv("PMI_FD") == NULL) {
      const struct raw_pmi pmi = {.fd = connect_to(variable("PMI_PORT"))};
      char line[kMaxLine];
      send_line(&pmi, "cmd=initack pmiid=%s", variable("PMI_ID"));
      receive_line(&pmi, "cmd=initack", line);
    }
  } else {
    const struct raw_pmi pmi = raw_start();
    if (strcmp(stage, "first-barrier") == 0) {
      send_line(&pmi, "cmd=barrier_in");
    } else {
      raw_barrier(&pmi);
    }
    if (strcmp(stage, "barrier") == 0 && pmi.rank != 0) send_line(&pmi, "cmd=barrier_in");
    if (strcmp(stage, "finalizing") == 0) send_line(&pmi, "cmd=finalize");
  }
  printf("rank at %s\n", stage);
  fflush(stdout);
  for (;;) pause();
}
