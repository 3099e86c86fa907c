// Owned file descriptors. Everything in os/ opens CLOEXEC from birth.
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

// An AF_UNIX pair. `first` is ours and non-blocking; `second` is the end to give away and blocking, which is
// what the program that inherits it expects.
FdPair stream_pair();
FdPair seqpacket_pair();
// O_CLOEXEC pipe: first is the read end. Neither is non-blocking.
FdPair make_pipe();

// The same open file under another number. Throws OsError.
UniqueFd duplicate(int fd);

// Of the open file, so everybody who shares it sees the change. Throws OsError.
void set_nonblocking(int fd, bool on);

// Waits until a write of up to PIPE_BUF bytes would not block, or would fail. False: it would still block.
// Throws OsError.
bool wait_writable(int fd, int timeout_ms);

}  // namespace wireup::os
