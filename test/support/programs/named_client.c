// named_client UID NAME PATH: as user UID, connects to the unix socket PATH from a socket that is bound to
// the abstract NAME, and waits until the server closes the connection. With UID 0 the user stays the same. A
// PATH that begins with '@' is an abstract name.
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void check(int ok, const char* what) {
  if (ok) return;
  perror(what);
  exit(90);
}

int main(int argc, char** argv) {
  check(argc == 4, "usage: named_client UID NAME PATH");
  const uid_t uid = (uid_t)strtoul(argv[1], NULL, 10);
  check(uid == 0 || setresuid(uid, uid, uid) == 0, "setresuid");
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un own = {.sun_family = AF_UNIX};
  check(strlen(argv[2]) < sizeof own.sun_path, "the name is too long");
  memcpy(own.sun_path + 1, argv[2], strlen(argv[2]));
  check(bind(fd, (struct sockaddr*)&own, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[2])) == 0,
        "bind");
  struct sockaddr_un server = {.sun_family = AF_UNIX};
  check(strlen(argv[3]) < sizeof server.sun_path, "the path is too long");
  strcpy(server.sun_path, argv[3]);
  socklen_t size = sizeof server;
  if (argv[3][0] == '@') {
    server.sun_path[0] = '\0';
    size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(argv[3]));
  }
  check(connect(fd, (struct sockaddr*)&server, size) == 0, "connect");
  char byte;
  (void)!read(fd, &byte, 1);
  return 0;
}
