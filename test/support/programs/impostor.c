// impostor UID PORT-OR-NAME: as that user, listens on a port of 127.0.0.1, or on an abstract name, which
// begins with "@". Prints "listening" and, for each connection, the number of bytes that it received.
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { kLifetimeSeconds = 120 };

static void fail(const char* what) {
  perror(what);
  exit(99);
}

int main(int argc, char** argv) {
  if (argc != 3) return 99;
  alarm(kLifetimeSeconds);
  if (setuid((uid_t)atoi(argv[1])) != 0) fail("setuid");
  const int on = 1;
  const int listener = socket(argv[2][0] == '@' ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (argv[2][0] == '@') {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t length = strlen(argv[2] + 1);
    memcpy(address.sun_path + 1, argv[2] + 1, length);
    if (bind(listener, (struct sockaddr*)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) != 0)
      fail("bind");
  } else {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[2])),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0) fail("bind");
  }
  if (listen(listener, 8) != 0) fail("listen");
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("listening");
  for (;;) {
    char bytes[4096];
    ssize_t size, received = 0;
    const int connection = accept(listener, NULL, NULL);
    while ((size = read(connection, bytes, sizeof bytes)) > 0) received += size;
    close(connection);
    printf("received %zd bytes\n", received);
  }
}
