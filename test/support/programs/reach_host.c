// Stands in for ssh and sshd, for hosts that this machine pretends.
//
//   reach_host serve SOCKET                    as sshd: prints a line when it listens
//   reach_host HOST PROGRAM [ARGUMENT...]      as ssh: the server at REACH_SOCKET runs the program, with
//   REACHED_HOST
//
// The program is no descendant of the command, as on another machine. The command carries the program's stdin
// and stdout, and ends as the program does. If the command is killed, the program's stdin ends.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kRead, kWrite, kStreams = 3, kBufferSize = 64 << 10, kMaxRequest = 128 << 10, kMaxWords = 4096 };

extern char** environ;

static void require(int succeeded, const char* call) {
  if (succeeded) return;
  perror(call);
  exit(255);
}

static struct sockaddr_un address_of(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  require(strlen(path) < sizeof address.sun_path, "the path of the socket");
  strcpy(address.sun_path, path);
  return address;
}

static int new_socket(void) {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  return fd;
}

// A request is the words of the program, an empty string, and its environment, each with its NUL.
struct request {
  char text[kMaxRequest];
  size_t size;
};

static void append(struct request* request, const char* word) {
  const size_t size = strlen(word) + 1;
  require(request->size + size <= sizeof request->text, "the length of the request");
  memcpy(request->text + request->size, word, size);
  request->size += size;
}

union fds {
  struct cmsghdr header;
  char space[CMSG_SPACE(kStreams * sizeof(int))];
};

static struct msghdr message_of(struct iovec* part, union fds* fds) {
  return (struct msghdr){
      .msg_iov = part, .msg_iovlen = 1, .msg_control = fds, .msg_controllen = sizeof fds->space};
}

static void send_request(int connection, struct request* request, const int streams[kStreams]) {
  struct iovec part = {request->text, request->size};
  union fds fds = {.header = {CMSG_LEN(kStreams * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&fds.header), streams, kStreams * sizeof(int));
  const struct msghdr message = message_of(&part, &fds);
  require(sendmsg(connection, &message, 0) == (ssize_t)request->size, "sendmsg");
}

// In a process of its own.
static void execute(int connection) {
  static struct request request;
  struct iovec part = {request.text, sizeof request.text};
  union fds fds;
  struct msghdr message = message_of(&part, &fds);
  const ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (size <= 0) exit(255);
  static char* words[kMaxWords];
  static char* variables[kMaxWords];
  char** next = words;
  for (char* word = request.text; word < request.text + size; word += strlen(word) + 1) {
    if (*word == '\0')
      next = variables;
    else
      *next++ = word;
  }
  const pid_t child = fork();
  require(child >= 0, "fork");
  int streams[kStreams];
  memcpy(streams, CMSG_DATA(&fds.header), sizeof streams);
  if (child == 0) {
    for (int i = 0; i < kStreams; ++i) dup2(streams[i], i);
    setsid();
    environ = variables;
    execvp(words[0], words);
    perror(words[0]);
    _exit(127);
  }
  for (int i = 0; i < kStreams; ++i) close(streams[i]);
  struct pollfd ends[] = {{connection, 0, 0}, {(int)syscall(SYS_pidfd_open, child, 0), POLLIN, 0}};
  while (poll(ends, 2, -1) < 0) continue;
  // sshd does not wait for the program of a client that is gone.
  if (ends[1].revents == 0) exit(0);
  int status = 0;
  require(waitpid(child, &status, 0) == child, "waitpid");
  const char code = (char)(WIFEXITED(status) ? WEXITSTATUS(status) : 255);
  send(connection, &code, 1, MSG_NOSIGNAL);
  exit(0);
}

static void serve(const char* path) {
  const struct sockaddr_un address = address_of(path);
  const int listener = new_socket();
  require(bind(listener, (const struct sockaddr*)&address, sizeof address) == 0, "bind");
  require(listen(listener, SOMAXCONN) == 0, "listen");
  puts("listening");
  fflush(stdout);
  for (;;) {
    const int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    require(connection >= 0, "accept4");
    const pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) execute(connection);
    close(connection);
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
  }
}

// Returns 0 at the end of `from`, and if `to` has no reader.
static int carry(int from, int to) {
  static char buffer[kBufferSize];
  const ssize_t size = read(from, buffer, sizeof buffer);
  if (size < 0 && errno == EINTR) return 1;
  for (ssize_t sent = 0; sent < size;) {
    const ssize_t written = write(to, buffer + sent, (size_t)(size - sent));
    if (written <= 0) return 0;
    sent += written;
  }
  return size > 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 255;
  if (strcmp(argv[1], "serve") == 0) serve(argv[2]);
  const char* path = getenv("REACH_SOCKET");
  require(path != NULL, "REACH_SOCKET");
  int down[2];
  int up[2];
  require(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0, "pipe2");
  setenv("REACHED_HOST", argv[1], 1);
  static struct request request;
  for (int i = 2; i < argc; ++i) append(&request, argv[i]);
  append(&request, "");
  for (char** variable = environ; *variable != NULL; ++variable) append(&request, *variable);
  const struct sockaddr_un address = address_of(path);
  const int connection = new_socket();
  require(connect(connection, (const struct sockaddr*)&address, sizeof address) == 0, "connect");
  send_request(connection, &request, (const int[]){down[kRead], up[kWrite], STDERR_FILENO});
  close(down[kRead]);
  close(up[kWrite]);
  signal(SIGPIPE, SIG_IGN);
  struct pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {up[kRead], POLLIN, 0}, {connection, POLLIN, 0}};
  // The program may close its stdout and read on, and its output may be read after its end.
  while (ends[1].fd >= 0 || ends[2].fd >= 0) {
    if (poll(ends, 3, -1) < 0) continue;
    if (ends[0].revents != 0 && !carry(STDIN_FILENO, down[kWrite])) {
      close(down[kWrite]);
      ends[0].fd = -1;
    }
    if (ends[1].revents != 0 && !carry(up[kRead], STDOUT_FILENO)) {
      close(up[kRead]);
      close(STDOUT_FILENO);
      ends[1].fd = -1;
    }
    if (ends[2].revents != 0) ends[2].fd = -1;
  }
  char code = 0;
  return recv(connection, &code, 1, 0) == 1 ? (unsigned char)code : 255;
}
