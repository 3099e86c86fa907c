#include "tools/client/resolve.h"

#include <cerrno>
#include <future>
#include <utility>

#include "os/error.h"
#include "os/thread.h"

namespace wireup::client {
namespace {

using Addresses = std::vector<os::SocketAddress>;

// The result of the thread: addresses, or an error as values. Not an exception that both threads share: the
// C++ runtime would release it, and the thread sanitizer cannot see that this is correct.
struct LookUp {
  Addresses addresses;
  int error = 0;
  std::string subject;
};

LookUp look_up(const std::string& host, std::uint16_t port) {
  try {
    return {os::SocketAddress::resolve(host, port), 0, {}};
  } catch (const os::OsError& error) {
    return {{}, error.code().value(), error.subject()};
  }
}

}  // namespace

Addresses resolve(const std::string& host, std::uint16_t port, const Deadline& deadline) {
  if (const auto known = os::SocketAddress::numeric(host, port)) return {*known};
  std::promise<LookUp> promise;
  std::future<LookUp> found = promise.get_future();
  os::start_thread("wireup-resolve", [host, port, promise = std::move(promise)]() mutable {
    promise.set_value(look_up(host, port));
  }).detach();
  if (found.wait_until(deadline.at()) != std::future_status::ready) {
    throw os::OsError(ETIMEDOUT, "getaddrinfo", host + ": the look-up of the name takes too long");
  }
  LookUp result = found.get();
  if (result.addresses.empty()) throw os::OsError(result.error, "getaddrinfo", result.subject);
  return std::move(result.addresses);
}

}  // namespace wireup::client
