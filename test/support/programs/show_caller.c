// Writes what it has inherited to the file $SHOW_CALLER, one fact a line as "what: value", with bytes outside
// ASCII as \xNN, and writes "hello" to stdout and stderr.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char** environ;
static FILE* out;

static void show(const char* what, const char* value) {
  fprintf(out, "%s: ", what);
  for (const char* c = value; *c != '\0'; c++) {
    if (*c >= ' ' && *c <= '~' && *c != '\\')
      fputc(*c, out);
    else
      fprintf(out, "\\x%02x", (unsigned char)*c);
  }
  fputc('\n', out);
}

static void show_number(const char* what, unsigned long long value) {
  fprintf(out, "%s: %llu\n", what, value);
}

static void show_fd(int fd) {
  char what[32], value[4200], target[4096] = "";
  snprintf(what, sizeof what, "fd %d", fd);
  struct stat status;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &status) < 0) {
    show(what, "closed");
    return;
  }
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, target, sizeof target - 1) < 0) target[0] = '\0';
  const char* const access[] = {"reads", "writes", "both", "none"};
  const char* kind = S_ISFIFO(status.st_mode)   ? "pipe"
                     : S_ISSOCK(status.st_mode) ? "socket"
                     : isatty(fd)               ? "tty"
                                                : target;
  snprintf(value, sizeof value, "%s %s%s%s", kind, access[flags & O_ACCMODE],
           flags & O_APPEND ? " append" : "", flags & O_NONBLOCK ? " nonblocking" : "");
  show(what, value);
}

int main(int argc, char** argv) {
  char* report = getenv("SHOW_CALLER");
  int fds[64], count = 0;
  DIR* directory = opendir("/proc/self/fd");
  for (struct dirent* entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
    const int fd = atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd > 2 && fd != dirfd(directory) && count < 64) fds[count++] = fd;
  }
  if (directory == NULL || report == NULL) return 93;
  closedir(directory);
  // Above all other fds, and not 0 to 2 if those are closed.
  const int file = open(report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  out = fdopen(fcntl(file, F_DUPFD_CLOEXEC, 200), "w");
  close(file);
  if (out == NULL) return 94;
  for (int i = 1; i < argc; i++) show("argument", argv[i]);
  for (char** variable = environ; *variable != NULL; variable++) show("variable", *variable);
  char text[4096];
  show("folder", getcwd(text, sizeof text) == NULL ? "" : text);
  const mode_t mask = umask(0);
  show_number("umask", mask);
  show_number("nice", getpriority(PRIO_PROCESS, 0));
  show_number("policy", sched_getscheduler(0));
  static const char* const limits[] = {"cpu",      "fsize",  "data",    "stack", "core",  "rss",
                                       "nproc",    "nofile", "memlock", "as",    "locks", "sigpending",
                                       "msgqueue", "nice",   "rtprio",  "rttime"};
  for (int resource = 0; resource < 16; resource++) {
    struct rlimit both;
    if (getrlimit(resource, &both) < 0) continue;
    char value[64];
    snprintf(value, sizeof value, "%lld %lld", (long long)both.rlim_cur, (long long)both.rlim_max);
    char what[32];
    snprintf(what, sizeof what, "limit %s", limits[resource]);
    show(what, value);
  }
  FILE* status = fopen("/proc/self/status", "re");
  while (status != NULL && fgets(text, sizeof text, status) != NULL) {
    text[strcspn(text, "\n")] = '\0';
    char* tab = strchr(text, '\t');
    if (tab == NULL) continue;
    *tab = '\0';
    if (strcmp(text, "SigIgn:") == 0) show("ignored", tab + 1);
    if (strcmp(text, "SigBlk:") == 0) show("blocked", tab + 1);
    if (strcmp(text, "Cpus_allowed:") == 0) show("cpus", tab + 1);
  }
  if (status != NULL) fclose(status);
  for (int fd = 0; fd < 3; fd++) show_fd(fd);
  for (int i = 0; i < count; i++) show_fd(fds[i]);
  for (int fd = 1; fd < 3; fd++)
    show_number(fd == 1 ? "to stdout" : "to stderr", write(fd, "hello\n", 6) == 6 ? 0 : errno);
  return fclose(out) == 0 ? 0 : 95;
}
