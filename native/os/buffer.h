// A buffer to read from a file or socket into.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

namespace wireup::os {

// Its bytes are not initialized, so a page is first touched when something is read into it. The first touch
// of a page can cost as much as ten system calls.
class Buffer {
 public:
  explicit Buffer(std::size_t size) : bytes_(std::make_unique_for_overwrite<char[]>(size)), size_(size) {}

  char* data() { return bytes_.get(); }
  std::size_t size() const { return size_; }
  std::span<char> span() { return {data(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
};

}  // namespace wireup::os
