#include "tools/agent/stacks.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "os/error.h"
#include "os/fd.h"
#include "os/process_facts.h"
#include "os/start_process.h"
#include "os/text_file.h"
#include "runtime/child_process.h"
#include "runtime/line_reader.h"
#include "wire/agent_messages.h"

namespace wireup::agent {
namespace {

// For a program with many symbols on a busy machine.
constexpr std::chrono::seconds kLimit{20};
// Debuggers at a time.
constexpr unsigned kAtOnce = 4;
// Processes that wait for a debugger: those of several questions.
constexpr std::size_t kMaxWaiting = 1024;

std::string path_variable() {
  const char* const path = std::getenv("PATH");
  return path == nullptr ? std::string() : path;
}

std::optional<std::string> find(const std::string& program) {
  try {
    return os::find_program(program, path_variable(), {});
  } catch (const os::OsError&) {
    return std::nullopt;
  }
}

bool is_python(pid_t pid) {
  const std::string file = os::executable_of(pid);
  return std::string_view(file).substr(file.rfind('/') + 1).starts_with("python");
}

// The words of the command that prints the stack; empty if no debugger is installed.
std::vector<std::string> command_for(pid_t pid) {
  const std::string number = std::to_string(pid);
  if (is_python(pid)) {
    if (const auto spy = find("py-spy")) return {*spy, "dump", "--pid", number};
  }
  if (const auto eu_stack = find("eu-stack")) return {*eu_stack, "-1", "-p", number};
  // Without a user's files and a network. `bt` shows the thread that it attaches to, the main one.
  if (const auto gdb = find("gdb")) {
    return {*gdb, "-nx",  "-batch", "-iex",  "set debuginfod enabled off", "-iex", "set auto-load off",
            "-p", number, "-ex",    "bt 128"};
  }
  return {};
}

// Messages that can be compared, and no downloads.
std::vector<std::string> environment() {
  std::vector<std::string> entries = {"LC_ALL=C", "DEBUGINFOD_URLS="};
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!text.starts_with("LC_ALL=") && !text.starts_with("DEBUGINFOD_URLS=")) entries.emplace_back(text);
  }
  return entries;
}

// Why the debugger has shown nothing, by what it has written to stderr.
std::string explain(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string lower = text;
  std::ranges::transform(lower, lower.begin(), [](unsigned char letter) {
    return letter >= 'A' && letter <= 'Z' ? letter + 32 : letter;
  });
  if (lower.find("not permitted") != std::string::npos ||
      lower.find("permission denied") != std::string::npos) {
    const std::string setting = os::read_text("/proc/sys/kernel/yama/ptrace_scope");
    const auto words = os::words_of(setting);
    const std::string scope(words.empty() ? "0" : words[0]);
    return scope == "0" ? "not permitted" : "not permitted (kernel.yama.ptrace_scope is " + scope + ")";
  }
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

struct Stacks::Debugger {
  Debugger(Stacks& owner, std::uint64_t own_number, Wanted what)
      : stacks(owner), number(own_number), wanted(std::move(what)) {}
  ~Debugger() { stacks.reactor_.cancel(timer); }

  void start() {
    const std::vector<std::string> words = command_for(wanted.pid);
    if (words.empty()) return end_later("neither eu-stack (elfutils) nor gdb is installed on this host");
    try {
      start(words);
    } catch (const os::OsError& error) {
      end_later(words.front() + ": " + error.what());
    }
  }

  void start(const std::vector<std::string>& words) {
    os::FdPair output = os::make_pipe();
    os::FdPair errors = os::make_pipe();
    out = std::make_unique<runtime::LineReader>(stacks.reactor_, std::move(output.first),
                                                [this](const std::string& line) { keep(line); });
    err = std::make_unique<runtime::LineReader>(stacks.reactor_, std::move(errors.first),
                                                [](const std::string&) {});
    os::ProcessSpec spec;
    spec.path = words.front();
    spec.args = words;
    spec.environment = environment();
    spec.fds = {{stacks.dev_null_, STDIN_FILENO},
                {output.second.get(), STDOUT_FILENO},
                {errors.second.get(), STDERR_FILENO}};
    spec.new_session = true;
    spec.die_with_parent = true;
    process = std::make_unique<runtime::ChildProcess>(stacks.reactor_, stacks.reaper_, spec,
                                                      [this](const os::ExitStatus&) { exited(); });
    timer = stacks.reactor_.after(kLimit, [this] {
      timer = 0;
      stacks.done(number, {{}, "no stack within " + std::to_string(kLimit.count()) + " s"});
    });
  }

  void keep(const std::string& line) {
    if (text.size() + line.size() < wire::agent::kMaxStack) text += line + '\n';
  }

  void exited() {
    out->finish();
    err->finish();
    stacks.done(number, {std::move(text), explain(err->kept())});
  }

  void end_later(std::string fault) {
    timer = stacks.reactor_.after({}, [this, fault = std::move(fault)] {
      timer = 0;
      stacks.done(number, {{}, fault});
    });
  }

  Stacks& stacks;
  std::uint64_t number;
  Wanted wanted;
  std::string text;
  std::unique_ptr<runtime::LineReader> out;
  std::unique_ptr<runtime::LineReader> err;
  std::unique_ptr<runtime::ChildProcess> process;
  os::Reactor::TimerId timer = 0;
};

Stacks::Stacks(os::Reactor& reactor, int dev_null)
    : reactor_(reactor), dev_null_(dev_null), reaper_(reactor) {}

Stacks::~Stacks() { stop(); }

void Stacks::take(pid_t pid, OnStack on_stack) {
  if (stopped_) return;
  waiting_.push_back({pid, std::move(on_stack)});
  if (timer_ == 0) {
    timer_ = reactor_.after({}, [this] {
      timer_ = 0;
      start_some();
    });
  }
}

void Stacks::start_some() {
  const std::size_t most = std::clamp(std::thread::hardware_concurrency(), 1U, kAtOnce);
  while (!stopped_ && running_.size() < most && !waiting_.empty()) {
    const std::uint64_t number = ++last_;
    auto& debugger = running_[number];
    debugger = std::make_unique<Debugger>(*this, number, std::move(waiting_.front()));
    waiting_.pop_front();
    debugger->start();
  }
  // The oldest question is answered first.
  while (waiting_.size() > kMaxWaiting) {
    OnStack on_stack = std::move(waiting_.back().on_stack);
    waiting_.pop_back();
    on_stack({{}, "too many stacks are asked for at a time"});
  }
}

void Stacks::done(std::uint64_t number, StackText stack) {
  auto debugger = running_.extract(number);
  OnStack on_stack = std::move(debugger.mapped()->wanted.on_stack);
  debugger = {};
  on_stack(std::move(stack));
  start_some();
}

void Stacks::stop() {
  stopped_ = true;
  reactor_.cancel(std::exchange(timer_, 0));
  waiting_.clear();
  running_.clear();
}

}  // namespace wireup::agent
