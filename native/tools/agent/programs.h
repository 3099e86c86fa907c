// The programs that the launcher has described. Collects their parts, and looks for each program once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/error.h"
#include "wire/agent_messages.h"

namespace wireup::agent {

// A program that can be executed.
struct Executable {
  std::string path;
  std::vector<std::string> args;  // with the prefix
  std::vector<std::string> environment;
  std::string directory;
  bool chooses_interface = false;  // see runtime/rank_environment.h
};

class Programs {
 public:
  // `host_name`: of this host.
  explicit Programs(std::string host_name) : host_name_(std::move(host_name)) {}

  // Returns false for an invalid part: one after the last part, or a last part if there is no args[0].
  bool add(wire::agent::Program part);

  // Whether the program is known and complete.
  bool has(std::uint32_t id) const;
  // A program that it has. Throws OsError, at every call, if the program or its prefix cannot be found or
  // executed.
  const Executable& find(std::uint32_t id);

  void forget(std::uint32_t id) { entries_.erase(id); }

 private:
  struct Entry {
    wire::agent::Program program;
    bool complete = false;
    std::optional<Executable> found;
    std::optional<os::OsError> failure;
  };

  std::string host_name_;
  std::unordered_map<std::uint32_t, Entry> entries_;
};

}  // namespace wireup::agent
