// A peer of a hub of native/runtime/zmq_hub.h that is not expected. Connects once with a key pair, sends a
// message, and prints what becomes of the connection:
//
//   refused   the handshake has failed
//   closed    the handshake was complete, and then the hub has closed the connection
//   answered  the hub has sent a message
//   silent    the handshake was complete, and then nothing has come for two seconds
//
// usage: zmq_intruder ENDPOINT
// stdin: a line with the hub's public key, one with the secret key of the pair (`new`: a new pair), and one
// with the message in hexadecimal digits, which may be empty. Keys do not stand on the command line.
//
// libzmq is opened as the agent opens it, so no header is needed.
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  kPair = 0,
  kDealer = 5,
  kLinger = 17,
  kReconnectInterval = 18,
  kReceiveTimeout = 27,
  kCurvePublicKey = 48,
  kCurveSecretKey = 49,
  kCurveServerKey = 50,
  kDisconnected = 0x0200,
  kHandshakeFailed = 0x0800 | 0x2000 | 0x4000,
  kHandshakeSucceeded = 0x1000,
};

// In milliseconds, for a busy machine.
static const int kHandshakeTimeout = 30000;
static const int kSilence = 2000;

static void* library;

static void* function(const char* name) {
  void* found = dlsym(library, name);
  if (found == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return found;
}

static void read_line(char* line, int size) {
  if (fgets(line, size, stdin) == NULL) exit(2);
  line[strcspn(line, "\n")] = '\0';
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  library = dlopen("libzmq.so.5", RTLD_NOW);
  if (library == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  void* (*ctx_new)(void) = function("zmq_ctx_new");
  void* (*open_socket)(void*, int) = function("zmq_socket");
  int (*set)(void*, int, const void*, size_t) = function("zmq_setsockopt");
  int (*connect_to)(void*, const char*) = function("zmq_connect");
  int (*watch)(void*, const char*, int) = function("zmq_socket_monitor");
  int (*send_bytes)(void*, const void*, size_t, int) = function("zmq_send");
  int (*receive)(void*, void*, size_t, int) = function("zmq_recv");
  int (*make_pair)(char*, char*) = function("zmq_curve_keypair");
  int (*find_public)(char*, const char*) = function("zmq_curve_public");

  char server[64];
  char secret[64];
  char public[64];
  static char hex[8192];
  static char message[4096];
  read_line(server, sizeof(server));
  read_line(secret, sizeof(secret));
  read_line(hex, sizeof(hex));
  if (strcmp(secret, "new") == 0 ? make_pair(public, secret) : find_public(public, secret)) return 2;
  const size_t size = strlen(hex) / 2;
  for (size_t i = 0; i < size; ++i) {
    unsigned byte = 0;
    if (sscanf(hex + 2 * i, "%2x", &byte) != 1) return 2;
    message[i] = (char)byte;
  }

  void* context = ctx_new();
  void* socket = open_socket(context, kDealer);
  const int none = 0;
  const int never = -1;
  set(socket, kLinger, &none, sizeof(none));
  set(socket, kReconnectInterval, &never, sizeof(never));
  set(socket, kReceiveTimeout, &kSilence, sizeof(kSilence));
  if (set(socket, kCurveServerKey, server, strlen(server)) || set(socket, kCurvePublicKey, public, 40) ||
      set(socket, kCurveSecretKey, secret, 40))
    return 2;
  watch(socket, "inproc://events", kDisconnected | kHandshakeFailed | kHandshakeSucceeded);
  void* events = open_socket(context, kPair);
  set(events, kReceiveTimeout, &kHandshakeTimeout, sizeof(kHandshakeTimeout));
  connect_to(events, "inproc://events");
  if (connect_to(socket, argv[1]) != 0) return 1;

  const char* result = NULL;
  for (char event[256]; result == NULL;) {
    // 16 bits of the event, 32 bits of its value; then the address.
    uint16_t kind = 0;
    if (receive(events, event, sizeof(event), 0) < (int)sizeof(kind)) return 1;
    memcpy(&kind, event, sizeof(kind));
    char address[256];
    receive(events, address, sizeof(address), 0);
    if (kind != kHandshakeSucceeded) {
      result = "refused";
    } else {
      send_bytes(socket, message, size, 0);
      char answer[256];
      if (receive(socket, answer, sizeof(answer), 0) >= 0) {
        result = "answered";
      } else {
        set(events, kReceiveTimeout, &none, sizeof(none));
        result = receive(events, event, sizeof(event), 0) >= 0 ? "closed" : "silent";
      }
    }
  }
  puts(result);
  return 0;
}
