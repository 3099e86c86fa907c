#include "os/zmq_library.h"

#include <dlfcn.h>

namespace wireup::os {
namespace {

// The soname since libzmq 4.0.
constexpr const char* kName = "libzmq.so.5";

template <typename Function>
void find(void* library, const char* symbol, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, symbol));
  if (function == nullptr) {
    throw ZmqMissing("libzmq is too old (it has no " + std::string(symbol) +
                     "): install libzmq 4.2 or later");
  }
}

}  // namespace

const ZmqLibrary& ZmqLibrary::get() {
  static const ZmqLibrary library = open(kName);
  return library;
}

// It stays open, because its threads may outlive the last object that uses it.
ZmqLibrary ZmqLibrary::open(const char* name) {
  // Lazily: libzmq comes with a dozen libraries, whose functions are mostly not called.
  void* library = ::dlopen(name, RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = ::dlerror();
    throw ZmqMissing("ZeroMQ is missing: " + std::string(kInstallZmq) + ": " +
                     std::string(reason == nullptr ? name : reason));
  }
  ZmqLibrary result{};
#define WIREUP_FIND(name) find(library, #name, result.name)
  WIREUP_FIND(zmq_errno);
  WIREUP_FIND(zmq_strerror);
  WIREUP_FIND(zmq_has);
  WIREUP_FIND(zmq_ctx_new);
  WIREUP_FIND(zmq_ctx_term);
  WIREUP_FIND(zmq_socket);
  WIREUP_FIND(zmq_close);
  WIREUP_FIND(zmq_setsockopt);
  WIREUP_FIND(zmq_getsockopt);
  WIREUP_FIND(zmq_bind);
  WIREUP_FIND(zmq_unbind);
  WIREUP_FIND(zmq_connect);
  WIREUP_FIND(zmq_send);
  WIREUP_FIND(zmq_socket_monitor);
  WIREUP_FIND(zmq_msg_init);
  WIREUP_FIND(zmq_msg_close);
  WIREUP_FIND(zmq_msg_recv);
  WIREUP_FIND(zmq_msg_data);
  WIREUP_FIND(zmq_msg_size);
  WIREUP_FIND(zmq_msg_more);
  WIREUP_FIND(zmq_msg_gets);
  WIREUP_FIND(zmq_curve_keypair);
  WIREUP_FIND(zmq_curve_public);
#undef WIREUP_FIND
  return result;
}

}  // namespace wireup::os
