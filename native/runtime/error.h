// The failure of a handle as the calling process receives it, and how exceptions become one.
#pragma once

#include <cstdint>
#include <exception>
#include <string>

namespace wireup::runtime {

// Why a handle failed. `code` is one of the documented ERR_PMI_ codes.
struct Error {
  std::string code;
  std::string message;
  std::int32_t error = 0;  // errno if a system call failed, else 0
  std::string syscall = {};
};

// Converts the exception. `code` is the code for a failed system call without a more exact code of its own.
Error to_error(const std::exception_ptr& failure, const char* code);

// The exception's text for people.
std::string describe(const std::exception& failure);

// The errno of the exception: ENOMEM for std::bad_alloc, 0 if it has none.
std::int32_t errno_of(const std::exception& failure);

}  // namespace wireup::runtime
