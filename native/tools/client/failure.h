// Why a program cannot go on with its PMI server, in words for its user: what, where, what to do.
#pragma once

#include <stdexcept>

namespace wireup::client {

class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace wireup::client
