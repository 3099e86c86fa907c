// The launcher's side of singleton init. A program that was started without a launcher and then needs one
// listens on a port of 127.0.0.1 and runs `mpiexec -pmi_args PORT INTERFACE KEY PID`. The launcher connects
// to that port, and the program becomes rank 0 of 1. The exchange is MPICH's (src/pmi, PMI 1.1):
//
//   mpiexec: cmd=singinit authtype=none
//   program: cmd=singinit pmi_version=1 pmi_subversion=1 stdio=yes authtype=none
//   mpiexec: cmd=singinit_info rc=0 versionok=yes stdio=no kvsname=...
//
// The messages of a rank follow, beginning with init. With stdio=yes the program asks the launcher to take
// its standard streams over. The launcher answers no, because both use the same streams already.
//
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "os/fd.h"
#include "os/reactor.h"
#include "os/unique_function.h"

namespace wireup::runtime {

// The program is on this host and waits in a blocking read.
inline constexpr std::chrono::seconds kSingletonTimeout{10};

class SingletonJoin final : os::Handler {
 public:
  // The connection, on which the program is the rank of the process group `kvsname`; or the exception
  // with the reason why there is none.
  struct Result {
    os::UniqueFd connection = {};
    std::exception_ptr failure = nullptr;
  };
  // Called once, from the reactor's loop; it may destroy the join.
  using OnJoined = os::UniqueFunction<void(Result)>;

  // Begins. The failure is an os::OsError: EPERM if another user listens on the port, EPROTO for another
  // answer than the one above, ETIMEDOUT after `timeout`. The constructor throws the same if the connection
  // cannot be begun.
  SingletonJoin(os::Reactor& reactor, std::uint16_t port, std::string kvsname, OnJoined on_joined,
                std::chrono::milliseconds timeout = kSingletonTimeout);
  ~SingletonJoin() override;
  SingletonJoin(const SingletonJoin&) = delete;
  SingletonJoin& operator=(const SingletonJoin&) = delete;

 private:
  void on_ready(std::uint32_t events) override;
  void greet();
  bool read_line();
  void answer();
  void finish(Result result);
  void stop();

  os::Reactor& reactor_;
  std::string address_;  // for people
  std::string kvsname_;
  OnJoined on_joined_;
  os::UniqueFd socket_;
  std::string line_;
  bool greeted_ = false;
  os::Reactor::TimerId timer_ = 0;
};

}  // namespace wireup::runtime
