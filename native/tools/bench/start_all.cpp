#include "tools/bench/start_all.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tools/bench/util.h"

namespace wireup::bench {
namespace {

// The names of a list such as a,h[1-3].
std::vector<std::string> host_names(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const std::string word(list.substr(0, list.find(',')));
    list.remove_prefix(std::min(list.size(), word.size() + 1));
    const std::size_t open = word.find('[');
    if (open == std::string::npos) {
      names.push_back(word);
      continue;
    }
    char* rest = nullptr;
    const unsigned long first = std::strtoul(word.c_str() + open + 1, &rest, 10);
    const unsigned long last = std::strtoul(rest + 1, nullptr, 10);
    for (unsigned long i = first; i <= last; ++i) names.push_back(word.substr(0, open) + std::to_string(i));
  }
  return names;
}

// Returns the end of its stdin.
int start_on(const std::string& name, char** command) {
  int ends[2];
  check(::pipe2(ends, O_CLOEXEC), "pipe2");
  const pid_t self = ::getpid();
  if (check(::fork(), "fork") > 0) {
    ::close(ends[0]);
    return ends[1];
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != self) std::_Exit(1);
  ::setenv("SLURMD_NODENAME", name.c_str(), 1);
  check(::dup2(ends[0], STDIN_FILENO), "dup2");
  std::signal(SIGPIPE, SIG_DFL);
  ::execvp(command[0], command);
  check(-1, command[0]);
  return -1;
}

void copy_stdin(const std::vector<int>& readers) {
  std::array<char, 4096> buffer;
  for (ssize_t size; (size = ::read(STDIN_FILENO, buffer.data(), buffer.size())) > 0;) {
    // One that has closed its stdin gets no more.
    for (const int reader : readers)
      if (::write(reader, buffer.data(), static_cast<std::size_t>(size)) < 0) continue;
  }
  for (const int reader : readers) ::close(reader);
}

}  // namespace

int start_all(char** words) {
  std::string_view list;
  for (; *words != nullptr && **words == '-'; ++words) {
    const std::string_view option = *words;
    if (option != "-w" && option != "-N" && option != "-n") continue;
    ++words;
    if (*words == nullptr) break;
    if (option == "-w") list = *words;
  }
  if (*words == nullptr || list.empty()) return 2;
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<int> readers;
  for (const std::string& name : host_names(list)) readers.push_back(start_on(name, words));
  std::thread(copy_stdin, readers).detach();
  bool failed = false;
  for (int status = 0; ::wait(&status) > 0;) failed = failed || status != 0;
  // The thread may still read.
  std::_Exit(failed ? 1 : 0);
}

}  // namespace wireup::bench
