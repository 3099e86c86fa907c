// Why a program cannot use its PMI server. The text is for users: what failed, where, and what to do.
#pragma once

#include <stdexcept>

namespace wireup::client {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace wireup::client
