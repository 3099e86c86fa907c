// Helpers of the tests of os/start_process.h.
#pragma once

#include <poll.h>
#include <sys/wait.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <variant>

#include "os/start_process.h"
#include "os/support.h"

namespace wireup::os::test {

inline void wait_until_ended(int pidfd) {
  pollfd entry{pidfd, POLLIN, 0};
  REQUIRE(::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kTimeout).count())) == 1);
}

inline ExitStatus wait_for(const StartedProcess& process) {
  wait_until_ended(process.pidfd.get());
  ExitStatus status;
  REQUIRE(try_wait(process.pidfd.get(), status));
  return status;
}

// Whether this process has no children, also no zombies.
inline bool no_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

inline ProcessSpec program(const std::string& path) {
  ProcessSpec spec;
  spec.path = path;
  spec.args = {path};
  return spec;
}

// How a test starts its process: alone, or with others, of which one cannot be started.
enum class Form : std::uint8_t { alone, concurrent, one_by_one };

// The tests of start_process() run in all forms, by the same code. The body finds `form` for start().
#define WIREUP_IN_ALL_FORMS(function, name)                       \
  static void function(Form form);                                \
  TEST_CASE(name " (alone)") { function(Form::alone); }           \
  TEST_CASE(name " (concurrent)") { function(Form::concurrent); } \
  TEST_CASE(name " (one by one)") { function(Form::one_by_one); } \
  static void function(Form form)
#define TEST_IN_ALL_FORMS(name) WIREUP_IN_ALL_FORMS(DOCTEST_ANONYMOUS(test_in_form_), name)

inline StartedProcess value_of(StartResult& result) {
  if (const auto* error = std::get_if<OsError>(&result)) throw *error;
  return std::get<StartedProcess>(std::move(result));
}

inline StartedProcess start(Form form, const ProcessSpec& spec) {
  if (form == Form::alone) return start_process(spec);
  const ProcessSpec specs[] = {program("/bin/true"), program("/no/such/file"), spec, program("/bin/true")};
  auto results =
      start_processes(specs, form == Form::concurrent ? StartMode::concurrent : StartMode::one_by_one);
  REQUIRE(results.size() == std::size(specs));
  CHECK(thrown_by([&] { value_of(results[1]); }) == ENOENT);
  for (const std::size_t i : {0, 3}) {
    const StartedProcess process = value_of(results[i]);
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(process.pid), &info, WEXITED) < 0) REQUIRE(errno == EINTR);
    CHECK(info.si_code == CLD_EXITED);
    CHECK(info.si_status == 0);
  }
  return value_of(results[2]);
}

}  // namespace wireup::os::test
