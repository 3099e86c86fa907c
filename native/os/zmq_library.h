// libzmq, opened when it is first needed. wireup neither links it nor needs its header: an installation
// without it can do everything except links over ZeroMQ.
//
// This file declares the functions and constants that are used, as libzmq 4.2 and later have them (the ABI of
// libzmq.so.5). Threads: any.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>

namespace wireup::os {

// For people.
inline constexpr std::string_view kInstallZmq = "install libzmq5 (Debian, Ubuntu) or zeromq (Fedora, Arch)";

// One line for people: what is missing, and what to install.
class ZmqMissing : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// zmq_msg_t: its size and alignment are part of the ABI.
struct alignas(void*) ZmqRawMessage {
  unsigned char opaque[64];
};

struct ZmqLibrary {
  // Opens the library at the first call. Throws ZmqMissing. `name`: for tests.
  static const ZmqLibrary& get();
  static ZmqLibrary open(const char* name);

  int (*zmq_errno)();
  const char* (*zmq_strerror)(int error);
  int (*zmq_has)(const char* capability);
  void* (*zmq_ctx_new)();
  int (*zmq_ctx_term)(void* context);
  void* (*zmq_socket)(void* context, int type);
  int (*zmq_close)(void* socket);
  int (*zmq_setsockopt)(void* socket, int option, const void* value, std::size_t size);
  int (*zmq_getsockopt)(void* socket, int option, void* value, std::size_t* size);
  int (*zmq_bind)(void* socket, const char* endpoint);
  int (*zmq_unbind)(void* socket, const char* endpoint);
  int (*zmq_connect)(void* socket, const char* endpoint);
  int (*zmq_send)(void* socket, const void* bytes, std::size_t size, int flags);
  int (*zmq_socket_monitor)(void* socket, const char* endpoint, int events);
  int (*zmq_msg_init)(ZmqRawMessage* message);
  int (*zmq_msg_close)(ZmqRawMessage* message);
  int (*zmq_msg_recv)(ZmqRawMessage* message, void* socket, int flags);
  void* (*zmq_msg_data)(ZmqRawMessage* message);
  std::size_t (*zmq_msg_size)(const ZmqRawMessage* message);
  int (*zmq_msg_more)(const ZmqRawMessage* message);
  const char* (*zmq_msg_gets)(const ZmqRawMessage* message, const char* property);
  int (*zmq_curve_keypair)(char* public_key, char* secret_key);
  int (*zmq_curve_public)(char* public_key, const char* secret_key);
};

// zmq.h
inline constexpr int kZmqPair = 0;
inline constexpr int kZmqRep = 4;
inline constexpr int kZmqDealer = 5;
inline constexpr int kZmqRouter = 6;

inline constexpr int kZmqFd = 14;
inline constexpr int kZmqEvents = 15;
inline constexpr int kZmqLinger = 17;
inline constexpr int kZmqReconnectInterval = 18;
inline constexpr int kZmqBacklog = 19;
inline constexpr int kZmqMaxMessageSize = 22;  // int64_t; all other options are int or text
inline constexpr int kZmqSendHwm = 23;
inline constexpr int kZmqReceiveHwm = 24;
inline constexpr int kZmqLastEndpoint = 32;
inline constexpr int kZmqRouterMandatory = 33;
inline constexpr int kZmqIpv6 = 42;
inline constexpr int kZmqPlainServer = 44;
inline constexpr int kZmqPlainUsername = 45;
inline constexpr int kZmqPlainPassword = 46;
inline constexpr int kZmqCurveServer = 47;
inline constexpr int kZmqCurvePublicKey = 48;
inline constexpr int kZmqCurveSecretKey = 49;
inline constexpr int kZmqCurveServerKey = 50;
inline constexpr int kZmqZapDomain = 55;
inline constexpr int kZmqHandshakeInterval = 66;
inline constexpr int kZmqHeartbeatInterval = 75;
inline constexpr int kZmqHeartbeatTimeout = 77;

inline constexpr int kZmqDontWait = 1;
inline constexpr int kZmqSendMore = 2;
inline constexpr int kZmqPollIn = 1;

// Events of a monitor.
inline constexpr int kZmqEventConnectRetried = 0x0004;
inline constexpr int kZmqEventAccepted = 0x0020;
inline constexpr int kZmqEventDisconnected = 0x0200;
inline constexpr int kZmqEventHandshakeFailed = 0x0800;  // no details
inline constexpr int kZmqEventHandshakeSucceeded = 0x1000;
inline constexpr int kZmqEventHandshakeProtocol = 0x2000;
inline constexpr int kZmqEventHandshakeAuth = 0x4000;

}  // namespace wireup::os
