// escape HOW FOLDER: every rank and a child of it try to escape from the signals of their launcher, print
// "ready", and stay. Rank 1 exits with 3 once FOLDER has a file "go". No other job uses FOLDER. HOW:
//
//   session   the child becomes an orphan in a session of its own
//   rank      moves to the POSIX process group of the next rank
//   agent     moves to the POSIX process group of the rank's parent
//   dead      moves to a POSIX process group whose leader has ended
//   vfork     does not move, and waits for a vfork child that never calls exec
//   ignore    does not move, and ignores signals
//
// A zombie child stays in the rank's own POSIX process group, so that a signal to this group succeeds. The
// kernel refuses some of these moves (setpgid(2)). The child tries them too.
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

// The pid that another rank has written to `folder`.
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

static void write_pid(const char* folder, int rank) {
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

// This process and a child of it that ignores signals move there, as far as the kernel allows it.
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
  write_pid(folder, rank);
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
  } else if (strcmp(how, "ignore") == 0) {
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
