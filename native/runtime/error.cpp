#include "runtime/error.h"

#include <cerrno>
#include <new>
#include <stdexcept>

#include "os/error.h"
#include "os/limits.h"

namespace wireup::runtime {
namespace {

Error of_system_call(const os::OsError& error, const char* code) {
  const int number = error.code().value();
  Error result{code, error.what(), number, error.syscall()};
  if (error.syscall() == "bind" && number == EADDRINUSE) result.code = "ERR_PMI_ADDRESS_IN_USE";
  if (number == ENAMETOOLONG) result.code = "ERR_PMI_ADDRESS";
  if (number == EMFILE) {
    result.code = "ERR_PMI_FD_LIMIT";
    result.message += "; the limit is " + std::to_string(os::fd_limit().soft) + ": raise it with `ulimit -n`";
  }
  return result;
}

}  // namespace

Error to_error(const std::exception_ptr& failure, const char* code) {
  try {
    std::rethrow_exception(failure);
  } catch (const os::OsError& error) {
    return of_system_call(error, code);
  } catch (const Error& error) {
    return error;
  } catch (const std::invalid_argument& error) {
    return {"ERR_PMI_OPTION", error.what()};
  } catch (const std::exception& error) {
    return {"ERR_PMI_INTERNAL", describe(error)};
  } catch (...) {
    return {"ERR_PMI_INTERNAL", "an unknown exception"};
  }
}

std::string describe(const std::exception& failure) {
  return dynamic_cast<const std::bad_alloc*>(&failure) != nullptr ? "out of memory" : failure.what();
}

std::int32_t errno_of(const std::exception& failure) {
  if (const auto* error = dynamic_cast<const os::OsError*>(&failure)) return error->code().value();
  return dynamic_cast<const std::bad_alloc*>(&failure) != nullptr ? ENOMEM : 0;
}

}  // namespace wireup::runtime
