// What wireup-agent reports of the processes of its ranks.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "engine/process_group.h"
#include "os/support.h"
#include "tools/agent/agent_driver.h"

namespace {

using namespace wireup;
using namespace wireup::test;

// A folder that is the whole PATH of agents that are started meanwhile.
class Path {
 public:
  Path() {
    REQUIRE(::mkdtemp(folder_.data()) != nullptr);
    ::setenv("PATH", folder_.c_str(), 1);
  }
  ~Path() {
    ::setenv("PATH", old_.c_str(), 1);
    std::filesystem::remove_all(folder_);
  }
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  void add(const std::string& program, const std::string& script) const {
    const std::string file = folder_ + "/" + program;
    std::ofstream(file) << "#!/bin/sh\nPATH=" << old_ << "\n" << script << "\n";
    REQUIRE(::chmod(file.c_str(), 0700) == 0);
  }
  std::string file(const std::string& name) const { return folder_ + "/" + name; }

 private:
  std::string folder_ = "/tmp/inspect-XXXXXX";
  std::string old_ = ::getenv("PATH");
};

// Ranks 0 to 2, of which the first two run.
void start(Driver& agent, const std::string& script) {
  agent.greet();
  agent.add(Driver::group(0, 3));
  agent.shell(script);
  agent.start(0);
  agent.start(1);
}

TEST_CASE("an inspection has the ranks that run, in the form of one look or of two") {
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  msg::InspectReply reply;
  CHECK(eventually([&] {
    agent.send(msg::Inspect{7, 0, {0, 1, 2}});
    reply = agent.expect<msg::InspectReply>();
    return std::ranges::all_of(reply.ranks, [](const msg::InspectedRank& rank) {
      return rank.name == "sleep" && rank.state == 'S';
    });
  }));
  CHECK(reply.id == 7);
  CHECK(reply.last);
  REQUIRE(reply.ranks.size() == 2);
  const msg::InspectedRank& rank = reply.ranks[1];
  CHECK(rank.rank == 1);
  CHECK(rank.worker == rank.pid);
  CHECK(exists(rank.pid));
  CHECK(rank.pmi == static_cast<std::uint8_t>(engine::RankState::connected));
  CHECK(rank.system_call.ends_with("nanosleep"));
  CHECK(rank.interval_us == 0);
  CHECK_FALSE(rank.has_stack);
  agent.send(msg::Inspect{8, 0, {1}, 20});
  reply = agent.expect<msg::InspectReply>();
  REQUIRE(reply.ranks.size() == 1);
  CHECK(reply.ranks[0].interval_us >= 20'000);
  CHECK(reply.ranks[0].busy_us <= reply.ranks[0].processor_us);
  agent.send(msg::Inspect{9, 5, {0}});  // a group that has no ranks here
  CHECK(agent.expect<msg::InspectReply>().ranks.empty());
}

TEST_CASE("an inspection without an interval is answered before the end that follows it") {
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  agent.send(msg::Inspect{1, 0, {0, 1}});
  agent.end();
  CHECK(agent.expect<msg::InspectReply>().ranks.size() == 2);
}

TEST_CASE("stacks are what the debugger prints, and its last line of stderr is the fault") {
  const Path path;
  path.add("eu-stack", "echo \"$@\"; echo '#0 0x1 read'; echo 'a warning' >&2; echo 'no symbols' >&2");
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  agent.send(msg::Inspect{1, 0, {0, 1}, 1, 1});
  const auto reply = agent.expect<msg::InspectReply>();
  REQUIRE(reply.ranks.size() == 2);
  CHECK(reply.ranks[0].has_stack);
  CHECK(reply.ranks[0].stack == "-1 -p " + std::to_string(reply.ranks[0].worker) + "\n#0 0x1 read\n");
  CHECK(reply.ranks[0].stack_fault == "no symbols");
  CHECK_FALSE(reply.ranks[1].has_stack);
}

TEST_CASE("a debugger that may not attach is explained, and its output is bounded") {
  const Path path;
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  path.add("gdb", "yes '#0 a long line' | head -n 100000; echo 'ptrace: Operation not permitted.' >&2");
  agent.send(msg::Inspect{1, 0, {0}, 0, 1});
  const auto reply = agent.expect<msg::InspectReply>();
  REQUIRE(reply.ranks.size() == 1);
  CHECK(reply.ranks[0].stack.size() <= msg::kMaxStack);
  CHECK(reply.ranks[0].stack.size() > msg::kMaxStack - 100);
  CHECK(reply.ranks[0].stack.ends_with("\n"));
  CHECK(reply.ranks[0].stack_fault.starts_with("not permitted"));
}

TEST_CASE("without a debugger the fault says so") {
  const Path path;
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  agent.send(msg::Inspect{1, 0, {0}, 0, 1});
  const auto reply = agent.expect<msg::InspectReply>();
  REQUIRE(reply.ranks.size() == 1);
  CHECK(reply.ranks[0].stack.empty());
  CHECK(reply.ranks[0].stack_fault.find("is installed") != std::string::npos);
}

TEST_CASE("a debugger that hangs ends with the job") {
  const Path path;
  path.add("eu-stack", "echo $$ > " + path.file("pid") + ".new; mv " + path.file("pid") + ".new " +
                           path.file("pid") + "; exec sleep 1000");
  Driver agent;
  start(agent, "exec /bin/sleep 1000");
  agent.send(msg::Inspect{1, 0, {0, 1}, 0, 2});
  pid_t debugger = 0;
  CHECK(eventually([&] {
    std::ifstream(path.file("pid")) >> debugger;
    return debugger != 0;
  }));
  agent.end();
  agent.expect<msg::Exited>();
  agent.expect<msg::Exited>();
  agent.expect<msg::Done>();
  CHECK(agent.wait().value == 0);
  CHECK(ends(debugger));
}

}  // namespace
