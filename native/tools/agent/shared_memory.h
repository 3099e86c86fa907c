// An object in memory that a process shares with the processes that it forks.
#pragma once

#include <sys/mman.h>

#include <new>
#include <type_traits>

#include "os/error.h"

namespace wireup::agent {

template <typename T>
class SharedMemory {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  SharedMemory() {  // throws OsError
    void* memory = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw os::OsError::last("mmap");
    object_ = new (memory) T{};
  }
  ~SharedMemory() { ::munmap(object_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  T* operator->() { return object_; }
  const T* operator->() const { return object_; }

 private:
  T* object_;
};

}  // namespace wireup::agent
