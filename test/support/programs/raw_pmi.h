// A PMI-1 client without MPI and without wireup's own code, which sends and receives plain text.
#pragma once

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kLifetimeSeconds = 120, kMaxLine = 2048 };

struct raw_pmi {
  int fd;
  int rank;
  int size;
  char kvsname[kMaxLine];
};

__attribute__((format(printf, 1, 2), noreturn)) static inline void die(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "raw client: ");
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(90);
}

static inline const char* variable(const char* name) {
  const char* value = getenv(name);
  if (value == NULL) die("%s is not set", name);
  return value;
}

static inline int number(const char* text) {
  char* end = NULL;
  const long value = strtol(text, &end, 10);
  if (end == text || *end != '\0') die("'%s' is not a number", text);
  return (int)value;
}

__attribute__((format(printf, 2, 3))) static inline void send_line(const struct raw_pmi* pmi,
                                                                   const char* format, ...) {
  char line[kMaxLine];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0 || length >= (int)sizeof line - 1) die("line too long");
  line[length++] = '\n';
  for (int sent = 0; sent < length;) {
    const ssize_t written = write(pmi->fd, line + sent, (size_t)(length - sent));
    if (written <= 0) die("the server is gone while sending %.*s", length - 1, line);
    sent += (int)written;
  }
}

// Reads one line without its newline. It looks at what has come before it reads, so that it consumes nothing
// of the next line.
static inline void receive_line(const struct raw_pmi* pmi, const char* prefix, char line[kMaxLine]) {
  int length = 0;
  for (;;) {
    if (length == kMaxLine - 1) die("the server's line has no end");
    const ssize_t ready = recv(pmi->fd, line + length, (size_t)(kMaxLine - 1 - length), MSG_PEEK);
    if (ready <= 0) die("the server hung up; expected %s", prefix);
    const char* end = memchr(line + length, '\n', (size_t)ready);
    const ssize_t wanted = end == NULL ? ready : end + 1 - (line + length);
    if (read(pmi->fd, line + length, (size_t)wanted) != wanted)
      die("the server hung up; expected %s", prefix);
    length += (int)wanted;
    if (end != NULL) break;
  }
  line[length - 1] = '\0';
  if (strncmp(line, prefix, strlen(prefix)) != 0) die("expected '%s', got '%s'", prefix, line);
}

// The value after " name=", up to the next blank or, for `value`, up to the end of the line.
static inline void attribute(const char* line, const char* name, char value[kMaxLine]) {
  char wanted[80];
  snprintf(wanted, sizeof wanted, " %s=", name);
  const char* found = strstr(line, wanted);
  if (found == NULL) die("no %s in '%s'", name, line);
  found += strlen(wanted);
  const size_t length = strcmp(name, "value") == 0 ? strlen(found) : strcspn(found, " ");
  memcpy(value, found, length);
  value[length] = '\0';
}

static inline int connect_to(const char* address) {
  char host[256];
  const char* colon = strrchr(address, ':');
  if (colon == NULL || (size_t)(colon - address) >= sizeof host) die("PMI_PORT is '%s'", address);
  memcpy(host, address, (size_t)(colon - address));
  host[colon - address] = '\0';
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
  struct addrinfo* found = NULL;
  if (getaddrinfo(host, colon + 1, &hints, &found) != 0) die("cannot resolve '%s'", host);
  const int fd = socket(found->ai_family, found->ai_socktype, found->ai_protocol);
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) die("cannot connect to %s", address);
  freeaddrinfo(found);
  return fd;
}

// Runs the handshake up to the reply to init, and gets the name of the key-value space.
static inline struct raw_pmi raw_start(void) {
  alarm(kLifetimeSeconds);
  struct raw_pmi pmi = {.fd = -1};
  char line[kMaxLine];
  char text[kMaxLine];
  if (getenv("PMI_FD") != NULL) {
    pmi.fd = number(variable("PMI_FD"));
    pmi.rank = number(variable("PMI_RANK"));
    pmi.size = number(variable("PMI_SIZE"));
  } else {
    pmi.fd = connect_to(variable("PMI_PORT"));
    send_line(&pmi, "cmd=initack pmiid=%s", variable("PMI_ID"));
    receive_line(&pmi, "cmd=initack", line);
    receive_line(&pmi, "cmd=set size=", line);
    attribute(line, "size", text);
    pmi.size = number(text);
    receive_line(&pmi, "cmd=set rank=", line);
    attribute(line, "rank", text);
    pmi.rank = number(text);
    receive_line(&pmi, "cmd=set debug=", line);
  }
  send_line(&pmi, "cmd=init pmi_version=1 pmi_subversion=1");
  receive_line(&pmi, "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0", line);
  send_line(&pmi, "cmd=get_my_kvsname");
  receive_line(&pmi, "cmd=my_kvsname ", line);
  attribute(line, "kvsname", pmi.kvsname);
  return pmi;
}

static inline void raw_barrier(const struct raw_pmi* pmi) {
  char line[kMaxLine];
  send_line(pmi, "cmd=barrier_in");
  receive_line(pmi, "cmd=barrier_out", line);
}

static inline void raw_finalize(const struct raw_pmi* pmi) {
  char line[kMaxLine];
  send_line(pmi, "cmd=finalize");
  receive_line(pmi, "cmd=finalize_ack", line);
  close(pmi->fd);
}

static inline void raw_announce(const struct raw_pmi* pmi) {
  printf("rank %d pid %d\n", pmi->rank, (int)getpid());
  fflush(stdout);
  raw_barrier(pmi);
}
