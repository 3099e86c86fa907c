#include "runtime/faults.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace wireup::test {
namespace {

struct State {
  std::atomic<bool> armed = false;
  std::atomic<FaultKind> kind = FaultKind::allocation;
  std::atomic<FaultThread> thread = FaultThread::other;
  std::atomic<FaultLength> length = FaultLength::once;
  std::atomic<std::uint64_t> count = 0;
  std::atomic<std::uint64_t> nth = 0;
  std::atomic<const char*> name = nullptr;
};

State state;
thread_local bool is_injector = false;

bool must_fail(FaultKind kind, const char* name) noexcept {
  if (!state.armed.load(std::memory_order_relaxed)) return false;
  if (state.kind != kind || (state.thread == FaultThread::own) != is_injector) return false;
  const std::uint64_t count = ++state.count;
  const std::uint64_t nth = state.nth;
  const bool fails = state.length == FaultLength::once ? count == nth : count >= nth;
  if (fails && count == nth) state.name = name;
  return fails;
}

}  // namespace

Fault::Fault(FaultPlan plan, std::uint64_t nth) {
  is_injector = true;
  state.kind = plan.kind;
  state.thread = plan.thread;
  state.length = plan.length;
  state.count = 0;
  state.nth = nth;
  state.name = nullptr;
  state.armed = true;
}

Fault::~Fault() {
  state.armed = false;
  is_injector = false;
}

bool Fault::hit() const { return state.count >= state.nth; }

const char* Fault::name() {
  const char* const name = state.name;
  return name == nullptr ? "none" : name;
}

std::uint64_t for_each_fault(const std::function<bool(std::uint64_t nth)>& scenario, std::uint64_t step) {
  std::uint64_t nth = 1;
  for (; scenario(nth); nth += step) {
  }
  return nth - 1;
}

}  // namespace wireup::test

using wireup::test::FaultKind;
using wireup::test::must_fail;

void* operator new(std::size_t size) {
  if (must_fail(FaultKind::allocation, "operator new")) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return must_fail(FaultKind::allocation, "operator new") ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept { return operator new(size, tag); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { std::free(memory); }

// The list of names is in CMakeLists.txt too.
#define WRAP(result, name, error, parameters, arguments)                           \
  extern "C" result __real_##name parameters;                                      \
  extern "C" result __wrap_##name parameters {                                     \
    if (!must_fail(FaultKind::system_call, #name)) return __real_##name arguments; \
    errno = error;                                                                 \
    return -1;                                                                     \
  }

WRAP(int, accept4, EMFILE, (int fd, sockaddr* address, socklen_t* size, int flags),
     (fd, address, size, flags))
WRAP(int, bind, EACCES, (int fd, const sockaddr* address, socklen_t size), (fd, address, size))
WRAP(int, clone, EAGAIN,
     (int (*function)(void*), void* stack, int flags, void* argument, void* pidfd, void* tls, void* tid),
     (function, stack, flags, argument, pidfd, tls, tid))
WRAP(int, __clone, EAGAIN,
     (int (*function)(void*), void* stack, int flags, void* argument, void* pidfd, void* tls, void* tid),
     (function, stack, flags, argument, pidfd, tls, tid))
WRAP(int, connect, ECONNREFUSED, (int fd, const sockaddr* address, socklen_t size), (fd, address, size))
WRAP(int, epoll_ctl, ENOSPC, (int epoll, int operation, int fd, epoll_event* event),
     (epoll, operation, fd, event))
WRAP(int, fchmod, EPERM, (int fd, mode_t mode), (fd, mode))
WRAP(int, fcntl, EMFILE, (int fd, int command, long argument), (fd, command, argument))
WRAP(int, getsockname, ENOBUFS, (int fd, sockaddr* address, socklen_t* size), (fd, address, size))
WRAP(int, getsockopt, ENOBUFS, (int fd, int level, int name, void* value, socklen_t* size),
     (fd, level, name, value, size))
WRAP(int, listen, EADDRINUSE, (int fd, int backlog), (fd, backlog))
WRAP(int, mkdirat, ENOSPC, (int folder, const char* path, mode_t mode), (folder, path, mode))
WRAP(int, open, EMFILE, (const char* path, int flags, mode_t mode), (path, flags, mode))
WRAP(int, openat, EMFILE, (int folder, const char* path, int flags, mode_t mode), (folder, path, flags, mode))
WRAP(ssize_t, recv, ECONNRESET, (int fd, void* buffer, std::size_t size, int flags),
     (fd, buffer, size, flags))
WRAP(ssize_t, recvmsg, ECONNRESET, (int fd, msghdr* message, int flags), (fd, message, flags))
WRAP(ssize_t, send, EPIPE, (int fd, const void* buffer, std::size_t size, int flags),
     (fd, buffer, size, flags))
WRAP(ssize_t, sendmsg, EPIPE, (int fd, const msghdr* message, int flags), (fd, message, flags))
WRAP(int, setsockopt, ENOBUFS, (int fd, int level, int name, const void* value, socklen_t size),
     (fd, level, name, value, size))
WRAP(int, socket, EMFILE, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, socketpair, EMFILE, (int domain, int type, int protocol, int* ends), (domain, type, protocol, ends))
