// escape HOW FOLDER: every rank, and a child of it, try to get where their launcher's signals do not reach,
// say "ready", and stay. Rank 1 exits with 3 when FOLDER holds a file "go". FOLDER is the job's own. HOW:
//
//   session   a session of its own, for an orphan
//   rank      the next rank's process group
//   agent     that of the rank's parent
//   dead      a process group whose leader has gone
//   vfork     nowhere, but waiting for a child that never executes anything
//   deaf      nowhere, but ignoring signals
//
// A child that has ended, and is not waited for, stays in the rank's own group: a signal to that finds a
// process. The kernel refuses some of these moves (setpgid(2)); what it allows is tried from the child too.
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>

#include "raw_pmi.h"

enum { kPollMicroseconds = 10000 };

static void ignore_signals(void) {
  for (int number = 1; number < 32; ++number) {
    if (number != SIGALRM && number != SIGCHLD) signal(number, SIG_IGN);
  }
}

static void stay(void) {
  alarm(kLifetimeSeconds);
  for (;;) pause();
}

static pid_t checked_fork(void) {
  const pid_t child = fork();
  if (child < 0) die("fork failed");
  return child;
}

// The process id that another rank has left in `folder`.
static pid_t pid_of_rank(const char* folder, int rank) {
  char name[kMaxLine];
  snprintf(name, sizeof name, "%s/rank-%d", folder, rank);
  for (;;) {
    FILE* file = fopen(name, "r");
    int pid = 0;
    const int read = file == NULL ? 0 : fscanf(file, "%d\n", &pid);
    if (file != NULL) fclose(file);
    if (read == 1) return pid;
    usleep(kPollMicroseconds);
  }
}

static void leave_pid(const char* folder, int rank) {
  char name[kMaxLine];
  char unfinished[kMaxLine];
  snprintf(name, sizeof name, "%s/rank-%d", folder, rank);
  snprintf(unfinished, sizeof unfinished, "%s/new-%d", folder, rank);
  FILE* file = fopen(unfinished, "w");
  if (file == NULL) die("cannot write %s", unfinished);
  fprintf(file, "%d\n", (int)getpid());
  fclose(file);
  if (rename(unfinished, name) != 0) die("cannot rename %s", unfinished);
}

// Both this process and a deaf child of it go there, as far as they may.
static void move_to(pid_t group) {
  int moved[2];
  if (pipe(moved) != 0) die("pipe failed");
  if (checked_fork() == 0) {
    ignore_signals();
    (void)setpgid(0, group);
    close(moved[0]);
    close(moved[1]);
    stay();
  }
  close(moved[1]);
  char none;
  (void)read(moved[0], &none, 1);
  close(moved[0]);
  if (checked_fork() == 0) _exit(0);
  (void)setpgid(0, group);
}

static void move_to_dead_group(void) {
  const pid_t leader = checked_fork();
  if (leader == 0) stay();
  if (setpgid(leader, leader) != 0) die("setpgid failed");
  move_to(leader);
  kill(leader, SIGKILL);
  waitpid(leader, NULL, 0);
}

static void leave_session(void) {
  (void)setsid();
  int left[2];
  if (pipe(left) != 0) die("pipe failed");
  if (checked_fork() == 0) {
    setsid();
    if (checked_fork() != 0) _exit(0);
    ignore_signals();
    close(left[0]);
    close(left[1]);
    stay();
  }
  close(left[1]);
  char none;
  (void)read(left[0], &none, 1);
  close(left[0]);
}

static void say_ready(void) {
  static const char kReady[] = "ready\n";
  if (write(STDOUT_FILENO, kReady, sizeof kReady - 1) < 0) _exit(91);
}

static void wait_for_vforked_child(void) {
  if (vfork() == 0) {
    ignore_signals();
    (void)setpgid(0, 0);
    say_ready();
    stay();
  }
}

int main(int argc, char** argv) {
  if (argc != 3) die("usage: escape HOW FOLDER");
  const char* how = argv[1];
  const char* folder = argv[2];
  const int rank = number(variable("PMI_RANK"));
  leave_pid(folder, rank);
  if (strcmp(how, "session") == 0) {
    leave_session();
  } else if (strcmp(how, "rank") == 0) {
    move_to(pid_of_rank(folder, (rank + 1) % number(variable("PMI_SIZE"))));
  } else if (strcmp(how, "agent") == 0) {
    move_to(getpgid(getppid()));
  } else if (strcmp(how, "dead") == 0) {
    move_to_dead_group();
  } else if (strcmp(how, "vfork") == 0) {
    if (rank != 1 || checked_fork() == 0) wait_for_vforked_child();
  } else if (strcmp(how, "deaf") == 0) {
    ignore_signals();
    if (checked_fork() == 0) stay();
  } else {
    die("no such way: %s", how);
  }
  if (strcmp(how, "vfork") != 0) say_ready();
  if (rank != 1) stay();
  char go[kMaxLine];
  snprintf(go, sizeof go, "%s/go", folder);
  while (access(go, F_OK) != 0) usleep(kPollMicroseconds);
  return 3;
}
