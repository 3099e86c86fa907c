// A failed system call as an exception: errno, the name of the call, and its subject, such as a path.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace wireup::os {

class OsError : public std::system_error {
 public:
  OsError(int error, std::string syscall, std::string subject = {})
      : std::system_error(error, std::generic_category(),
                          subject.empty() ? syscall : syscall + " " + subject),
        syscall_(std::move(syscall)),
        subject_(std::move(subject)) {}

  static OsError last(std::string syscall, std::string subject = {}) {
    const int error = errno;
    return OsError(error, std::move(syscall), std::move(subject));
  }

  const std::string& syscall() const { return syscall_; }
  const std::string& subject() const { return subject_; }

 private:
  std::string syscall_;
  std::string subject_;
};

}  // namespace wireup::os
