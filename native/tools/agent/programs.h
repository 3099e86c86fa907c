// The programs that the launcher has described: collected part by part, looked for once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "os/error.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// A program as it is to be executed.
struct Executable {
  std::string path;
  std::vector<std::string> args;  // with the prefix
  std::vector<std::string> environment;
  std::string directory;
};

class Programs {
 public:
  // False when the part does not fit: behind a last part, or a last part that leaves no args[0].
  bool add(wire::agent::Program part);

  // The complete program of that id; nullptr when there is none. Throws OsError when the program, or what its
  // prefix names, cannot be found or executed, again at every call.
  const Executable* find(std::uint32_t id);

  void forget(std::uint32_t id) { entries_.erase(id); }

 private:
  struct Entry {
    wire::agent::Program program;
    bool complete = false;
    std::optional<Executable> found;
    std::optional<os::OsError> failure;
  };

  std::unordered_map<std::uint32_t, Entry> entries_;
};

}  // namespace wireup::agent
