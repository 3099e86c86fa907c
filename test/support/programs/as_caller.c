// as_caller REPORT OUTPUT PROGRAM ARGS...: changes everything that a process inherits, and runs a program.
//
// fd 3 appends to REPORT.log, fd 5 is the read end of a pipe, fds 20 and 63 are sockets. Signals 1, 13 and 64
// are ignored, 10 and 62 are blocked. The soft limits of open files, of the stack and of core files are low.
// The nice value is 3, the policy SCHED_BATCH, the umask 027. The program may run on one CPU. The argument
// @BYTES is replaced by bytes that are not UTF-8, which are also the value of the variable BYTES. SHOW_CALLER
// is REPORT.
//
// OUTPUT selects what stdout and stderr are: file (REPORT.out), pipe, nonblocking, tty, socket or closed. So
// is stdin, except for tty and nonblocking. Their output is written to REPORT.out in any case. The exit code
// is that of the program.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call)   \
  do {                \
    if ((call) < 0) { \
      perror(#call);  \
      exit(90);       \
    }                 \
  } while (0)

// A lone byte, a letter in UTF-8, a surrogate in invalid UTF-8.
static char bytes[] = "\xe9 \xc3\xa9 \xed\xb3\xa9\xff";

static void place(int fd, int number) {
  if (fd == number) return;
  CHECK(dup2(fd, number));
  close(fd);
}

static void limit(int resource, rlim_t soft) {
  struct rlimit both;
  CHECK(getrlimit(resource, &both));
  both.rlim_cur = soft;
  CHECK(setrlimit(resource, &both));
}

static void change_all(const char* report) {
  char path[4096];
  snprintf(path, sizeof path, "%s.log", report);
  int ends[2];
  int sockets[2];
  CHECK(pipe(ends));
  CHECK(write(ends[1], "data", 4));
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
  // Above the numbers that are assigned below.
  const int in = fcntl(ends[0], F_DUPFD, 100), one = fcntl(sockets[0], F_DUPFD, 100),
            other = fcntl(sockets[1], F_DUPFD, 100);
  const int log = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  CHECK(fcntl(log, F_DUPFD, 100));
  const int far = fcntl(log, F_DUPFD, 100);
  CHECK(close_range(3, 99, 0));
  place(far, 3);
  place(in, 5);
  place(one, 20);
  place(other, 63);
  CHECK(close_range(64, ~0U, 0));
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGRTMAX, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  sigaddset(&blocked, SIGRTMAX - 2);
  CHECK(sigprocmask(SIG_SETMASK, &blocked, NULL));
  limit(RLIMIT_NOFILE, 512);
  limit(RLIMIT_STACK, 4 << 20);
  limit(RLIMIT_CORE, 0);
  CHECK(setpriority(PRIO_PROCESS, 0, 3));
  const struct sched_param none = {0};
  CHECK(sched_setscheduler(0, SCHED_BATCH, &none));
  cpu_set_t cpus, one_cpu;
  CHECK(sched_getaffinity(0, sizeof cpus, &cpus));
  int cpu = 0;
  while (!CPU_ISSET(cpu, &cpus)) cpu++;
  CPU_ZERO(&one_cpu);
  CPU_SET(cpu, &one_cpu);
  CHECK(sched_setaffinity(0, sizeof one_cpu, &one_cpu));
  umask(027);
  setenv("BYTES", bytes, 1);
  setenv("SHOW_CALLER", report, 1);
}

int main(int argc, char** argv) {
  if (argc < 4) return 91;
  const char* output = argv[2];
  char path[4096];
  snprintf(path, sizeof path, "%s.out", argv[1]);
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  CHECK(file);
  int ours = -1, given = -1;
  int ends[2];
  if (strcmp(output, "file") == 0) {
    CHECK(given = dup(file));
  } else if (strcmp(output, "pipe") == 0 || strcmp(output, "nonblocking") == 0) {
    CHECK(pipe(ends));
    ours = ends[0];
    given = ends[1];
    if (*output == 'n') CHECK(fcntl(given, F_SETFL, O_NONBLOCK));
  } else if (strcmp(output, "tty") == 0) {
    CHECK(openpty(&ours, &given, NULL, NULL, NULL));
  } else if (strcmp(output, "socket") == 0) {
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    ours = ends[0];
    given = ends[1];
  }
  const pid_t pid = fork();
  CHECK(pid);
  if (pid == 0) {
    for (int fd = 0; fd < 3; fd++) {
      const int from = fd > 0 || *output == 'f' || *output == 's' ? given : -1;
      if (from >= 0) CHECK(dup2(from, fd));
    }
    if (*output == 's') shutdown(ours, SHUT_WR);
    change_all(argv[1]);
    if (*output == 'c') CHECK(close_range(0, 2, 0));
    for (char** argument = argv + 3; *argument != NULL; argument++) {
      if (strcmp(*argument, "@BYTES") == 0) *argument = bytes;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    _exit(92);
  }
  if (given >= 0) close(given);
  char buffer[65536];
  // Reading a terminal without writers fails.
  for (ssize_t size; ours >= 0 && (size = read(ours, buffer, sizeof buffer)) > 0;)
    CHECK(write(file, buffer, size));
  int status;
  CHECK(waitpid(pid, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
