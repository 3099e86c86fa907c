#include "os/process_facts.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "os/start_process_support.h"
#include "runtime/blocking.h"

namespace {

using namespace wireup;
using namespace wireup::os;
using wireup::test::eventually;

// A shell with a stdin of its own, which is killed at the end.
class Shell {
 public:
  explicit Shell(std::string script, int in = 0) {
    ProcessSpec spec;
    spec.path = "/bin/sh";
    spec.args = {"sh", "-c", std::move(script)};
    spec.environment = {"PATH=/usr/bin:/bin"};
    spec.fds = {{in, 0}, {1, 1}, {2, 2}};
    spec.new_session = true;
    process_ = start_process(spec);
  }
  ~Shell() {
    ::kill(-process_.pid, SIGKILL);
    ::waitpid(process_.pid, nullptr, 0);
  }
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  pid_t pid() const { return process_.pid; }

 private:
  StartedProcess process_;
};

}  // namespace

TEST_CASE("process facts: what a process waits for") {
  const FdPair pipe = make_pipe();
  const Shell shell("exec cat", pipe.first.get());
  CHECK(eventually([&] {
    const auto facts = process_facts(shell.pid());
    return facts && facts->name == "cat" && facts->system_call == "read";
  }));
  const auto facts = process_facts(shell.pid());
  REQUIRE(facts);
  CHECK(facts->state == 'S');
  CHECK(facts->file.starts_with("pipe:["));
  CHECK(executable_of(shell.pid()).ends_with("/cat"));
}

TEST_CASE("process facts: a stopped process, one that has ended, and none") {
  auto shell = std::make_unique<Shell>("kill -STOP $$");
  const pid_t pid = shell->pid();
  CHECK(eventually([&] { return process_facts(pid)->state == 'T'; }));
  ::kill(-pid, SIGKILL);
  CHECK(eventually([&] { return process_facts(pid)->state == 'Z'; }));
  CHECK(process_facts(pid)->system_call.empty());
  shell.reset();
  CHECK_FALSE(process_facts(pid));
  CHECK(processor_time(pid) == 0);
  CHECK(executable_of(pid).empty());
  CHECK(working_process(pid) == pid);
}

TEST_CASE("process facts: a process that computes uses processor time") {
  const Shell shell("while :; do :; done");
  CHECK(eventually([&] { return processor_time(shell.pid()) >= 50'000; }));
  const auto facts = process_facts(shell.pid());
  REQUIRE(facts);
  CHECK(facts->state == 'R');
  CHECK(facts->processor_us >= 50'000);
}

TEST_CASE("process facts: a shell that waits for its only child stands for it") {
  const Shell one("sleep 1000; :");
  CHECK(eventually([&] {
    const auto facts = process_facts(working_process(one.pid()));
    return facts && facts->name == "sleep" && facts->state == 'S';
  }));
  const Shell two("sleep 1000 & sleep 1000; :");
  CHECK(eventually([&] {
    const auto facts = process_facts(two.pid());
    return facts && facts->system_call.starts_with("wait");
  }));
  CHECK(working_process(two.pid()) == two.pid());
}
