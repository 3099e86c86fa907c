#include "host/process.h"

#include <doctest/doctest.h>
#include <sys/wait.h>

#include <optional>

#include "os/support.h"

namespace wireup::host {

using namespace os::test;

TEST_CASE("process: an end whose status the owner took is told") {
  os::Reactor reactor;
  os::SpawnSpec spec;
  spec.path = "/bin/sh";
  spec.args = {"sh", "-c", "exit 3"};
  std::optional<os::ExitStatus> told;
  Process process(reactor, spec, [&](const os::ExitStatus& status) { told = status; });
  REQUIRE(waitpid(process.pid(), nullptr, 0) == process.pid());
  run_until(reactor, [&] { return told.has_value(); });
  CHECK_FALSE(told->signaled);
  CHECK(told->value == 0);
}

}  // namespace wireup::host
