// Owned file descriptors. Everything in os/ opens files with CLOEXEC set.
#pragma once

#include <utility>

namespace wireup::os {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);  // keeps errno

 private:
  int fd_ = -1;
};

struct FdPair {
  UniqueFd first;
  UniqueFd second;
};

// An AF_UNIX socket pair. `first` is non-blocking, for this process. `second` is blocking, as a program that
// inherits it expects. Throws OsError.
FdPair stream_pair();
FdPair seqpacket_pair();
// A pipe: `first` is the read end. Both ends are blocking and CLOEXEC. Throws OsError.
FdPair make_pipe();

// Another fd of the same open file. Throws OsError.
UniqueFd duplicate(int fd);

// Sets it for the open file, so for every fd and process that shares it. Throws OsError.
void set_nonblocking(int fd, bool on);

// Waits until a write of up to PIPE_BUF bytes would not block, or would fail. Returns false after
// `timeout_ms`. Throws OsError.
bool wait_writable(int fd, int timeout_ms);

}  // namespace wireup::os
