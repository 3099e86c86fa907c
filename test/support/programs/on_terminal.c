// on_terminal foreground|background|tostop COMMAND...: runs a command on a terminal of its own, in the
// foreground, in the background, or in the background with `stty tostop`. Copies the terminal's output to
// stdout. USR1 types ^C; TERM is passed on to the command. Prints "stopped" if a signal stops the command.
// The exit code is that of the command.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { kLifetimeSeconds = 120 };

static void check(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(90);
}

// Returns the session leader, which acts as a shell does: the command has a POSIX process group of its own.
static pid_t start(const char* name, const char* how, char** command) {
  const pid_t child = fork();
  check(child >= 0, "fork");
  if (child > 0) return child;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  check(setpgid(0, 0) == 0, "setpgid");
  const int terminal = open(name, O_RDWR);
  check(terminal >= 0, "open");
  if (strcmp(how, "foreground") == 0) {
    signal(SIGTTOU, SIG_IGN);
    check(tcsetpgrp(terminal, getpid()) == 0, "tcsetpgrp");
    signal(SIGTTOU, SIG_DFL);
  }
  for (int fd = 0; fd < 3; ++fd) check(dup2(terminal, fd) == fd, "dup2");
  close(terminal);
  execvp(command[0], command);
  check(0, command[0]);
  return -1;
}

int main(int argc, char** argv) {
  check(argc > 2, "usage: on_terminal foreground|background|tostop COMMAND...");
  alarm(kLifetimeSeconds);
  // The test has started this process as the leader of a session without a terminal.
  const int keyboard = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  check(keyboard >= 0 && grantpt(keyboard) == 0 && unlockpt(keyboard) == 0, "posix_openpt");
  const int terminal = open(ptsname(keyboard), O_RDWR | O_CLOEXEC);
  check(terminal >= 0, "open");
  if (strcmp(argv[1], "tostop") == 0) {
    struct termios settings;
    check(tcgetattr(terminal, &settings) == 0, "tcgetattr");
    settings.c_lflag |= TOSTOP;
    check(tcsetattr(terminal, TCSANOW, &settings) == 0, "tcsetattr");
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGUSR1);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  check(signals >= 0, "signalfd");
  const pid_t child = start(ptsname(keyboard), argv[1], argv + 2);
  int status = -1;
  for (;;) {
    struct pollfd fds[2] = {{keyboard, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(fds, 2, status >= 0 ? 0 : -1) == 0) break;
    if ((fds[0].revents & POLLIN) != 0) {
      char buffer[4096];
      const ssize_t size = read(keyboard, buffer, sizeof buffer);
      check(size >= 0, "read");
      fwrite(buffer, 1, (size_t)size, stdout);
      fflush(stdout);
      continue;
    }
    if ((fds[1].revents & POLLIN) == 0) continue;
    struct signalfd_siginfo info;
    check(read(signals, &info, sizeof info) == sizeof info, "read");
    if (info.ssi_signo == SIGUSR1) check(write(keyboard, "\x03", 1) == 1, "write");
    if (info.ssi_signo == SIGTERM) kill(child, SIGTERM);
    int how = 0;
    if (info.ssi_signo == SIGCHLD && waitpid(child, &how, WNOHANG | WUNTRACED) == child) {
      if (WIFSTOPPED(how)) {
        printf("stopped by %d\n", WSTOPSIG(how));
        fflush(stdout);
        kill(child, SIGKILL);
      } else {
        status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
      }
    }
  }
  return status;
}
