#include "tools/bench/conduct.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <map>
#include <new>
#include <string>
#include <vector>

#include "tools/bench/table.h"
#include "tools/bench/usage.h"
#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

pid_t start(char** command, const std::string& table) {
  const pid_t conductor = ::getpid();
  const pid_t child = check(::fork(), "fork");
  if (child != 0) return child;
  // The launcher ends if the conductor dies.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != conductor) std::_Exit(1);
  ::setenv(kTableVariable, table.c_str(), 1);
  // The conductor prints its results on stdout, so the command must not write to it.
  const int null = check(::open("/dev/null", O_WRONLY | O_CLOEXEC), "/dev/null");
  check(::dup2(null, STDOUT_FILENO), "dup2");
  ::execvp(command[0], command);
  check(-1, command[0]);
  return 0;
}

class Conductor {
 public:
  explicit Conductor(const Script& script) {
    const int fd = check(static_cast<int>(::memfd_create("wireup-bench", MFD_CLOEXEC)), "memfd_create");
    check(::ftruncate(fd, static_cast<off_t>(Table::bytes(script))), "ftruncate");
    void* memory = ::mmap(nullptr, Table::bytes(script), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) check(-1, "mmap");
    table_ = new (memory) Table{};
    table_->script = script;
    table_->conductor = ::getpid();
    path_ = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd);
  }

  int run(pid_t server, char** command) {
    const std::int64_t begin = now_ns();
    child_ = start(command, path_);
    server_ = server == 0 ? child_ : server;
    if (table_->script.mode != Mode::launch) {
      before_ = open(table_->gates[0]);
      after_ = open(table_->gates[1]);
    }
    check(::waitpid(child_, &status_, 0), "waitpid");
    const std::int64_t wall = now_ns() - begin;
    if (status_ != 0) {
      std::fprintf(stderr, "wireup-bench: %s ended with status %d\n", command[0], status_);
      return 1;
    }
    std::printf("{\"wallNs\":%lld", static_cast<long long>(wall));
    if (table_->script.mode != Mode::launch) print_measured();
    std::printf("}\n");
    return 0;
  }

 private:
  // Waits for all ranks, reads the launcher's usage, and opens the gate.
  Usage open(Gate& gate) {
    constexpr long kLookMs = 200;
    const std::uint32_t size = table_->script.size;
    for (std::uint32_t arrived; (arrived = gate.arrived.load()) < size;) {
      wait_on(gate.arrived, arrived, kLookMs);
      if (::waitpid(child_, &status_, WNOHANG) == child_) {
        std::fprintf(stderr,
                     "wireup-bench: the command ended with status %d while %u of %u ranks were there\n",
                     status_, gate.arrived.load(), size);
        std::exit(1);
      }
    }
    std::set<pid_t> ranks;
    for (std::uint32_t i = 0; i < size; ++i) ranks.insert(static_cast<pid_t>(table_->slot(i)[0]));
    Usage usage = usage_of(server_, ranks);
    gate.open.store(1);
    wake_all(gate.open);
    return usage;
  }

  void print_measured() const {
    const std::uint32_t marks = table_->script.marks();
    std::vector<std::int64_t> first(marks, INT64_MAX);
    std::vector<std::int64_t> last(marks, 0);
    for (std::uint32_t i = 0; i < table_->script.size; ++i) {
      const std::int64_t* times = table_->slot(i) + 1;
      for (std::uint32_t mark = 0; mark < marks; ++mark) {
        first[mark] = std::min(first[mark], times[mark]);
        last[mark] = std::max(last[mark], times[mark]);
      }
    }
    const std::int64_t zero = first[0];
    print("firstNs", first, zero);
    print("lastNs", last, zero);
    std::map<pid_t, std::uint64_t> used;
    for (const ThreadUse& thread : before_.threads) used[thread.thread] = thread.cpu_ns;
    std::printf(",\"threads\":[");
    const char* comma = "";
    for (const ThreadUse& thread : after_.threads) {
      // The names of wireup's threads and of launchers contain no characters that JSON escapes.
      std::printf("%s{\"process\":%d,\"parent\":%d,\"thread\":%d,\"name\":\"%s\",\"cpuNs\":%llu}", comma,
                  thread.process, thread.parent, thread.thread, thread.name.c_str(),
                  static_cast<unsigned long long>(thread.cpu_ns - used[thread.thread]));
      comma = ",";
    }
    std::printf("],\"memory\":[%llu,%llu]", static_cast<unsigned long long>(before_.memory),
                static_cast<unsigned long long>(after_.memory));
  }

  static void print(const char* name, const std::vector<std::int64_t>& times, std::int64_t zero) {
    std::printf(",\"%s\":", name);
    for (std::size_t i = 0; i < times.size(); ++i) {
      std::printf("%c%lld", i == 0 ? '[' : ',', static_cast<long long>(times[i] - zero));
    }
    std::printf("]");
  }

  Table* table_;
  std::string path_;
  pid_t child_ = 0;
  pid_t server_ = 0;
  int status_ = 0;
  Usage before_;
  Usage after_;
};

}  // namespace

int conduct(const Script& script, pid_t server, char** command) {
  // The conductor ends if the process that started it dies.
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  return Conductor(script).run(server, command);
}

}  // namespace wireup::bench
