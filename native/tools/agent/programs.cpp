#include "tools/agent/programs.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <utility>

#include "os/start_process.h"
#include "runtime/rank_environment.h"

namespace wireup::agent {
namespace {

std::string path_of(const std::vector<std::string>& environment) {
  for (const std::string& variable : environment) {
    if (variable.starts_with("PATH=")) return variable.substr(5);
  }
  return {};
}

void move_to_end(std::vector<std::string>& to, std::vector<std::string>& from) {
  std::move(from.begin(), from.end(), std::back_inserter(to));
}

// "NAME=value" of the variables by which Slurm names the GPUs that the job has on this host. The launcher's
// host may be outside of the job, and then has none.
std::vector<std::string> allocated_devices() {
  static constexpr const char* kNames[] = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
                                           "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"};
  std::vector<std::string> result;
  if (std::getenv("SLURM_STEP_GPUS") == nullptr) return result;
  for (const char* name : kNames) {
    if (const char* value = std::getenv(name)) result.push_back(std::string(name) + "=" + value);
  }
  return result;
}

// The file in the folder of this program, which is that of an installed wireup.
std::string exec_shim() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) throw os::OsError(error.value(), "readlink", "/proc/self/exe");
  return self.parent_path() / "wireup-exec";
}

Executable resolve(wire::agent::Program program) {
  Executable result;
  struct stat folder {};
  if (!program.directory.empty() && ::stat(program.directory.c_str(), &folder) != 0) {
    throw os::OsError::last("chdir", program.directory);
  }
  const std::string path = program.path.empty() ? path_of(program.environment) : program.path;
  // Also with a prefix, so that a missing program is reported as such, and not by the prefix (a shim or a
  // debugger).
  result.path = os::find_program(program.args.front(), path, program.directory);
  if (program.exec_shim) program.prefix.push_back(exec_shim());
  if (!program.prefix.empty())
    result.path = os::find_program(program.prefix.front(), path, program.directory);
  result.args = std::move(program.prefix);
  move_to_end(result.args, program.args);
  result.environment = std::move(program.environment);
  result.directory = std::move(program.directory);
  return result;
}

}  // namespace

bool Programs::add(wire::agent::Program part) {
  Entry& entry = entries_[part.id];
  if (entry.complete) return false;
  if (entry.program.directory.empty()) entry.program.directory = std::move(part.directory);
  if (entry.program.path.empty()) entry.program.path = std::move(part.path);
  if (part.exec_shim) entry.program.exec_shim = true;
  move_to_end(entry.program.prefix, part.prefix);
  move_to_end(entry.program.args, part.args);
  move_to_end(entry.program.environment, part.environment);
  entry.complete = part.last;
  return !entry.complete || !entry.program.args.empty();
}

bool Programs::has(std::uint32_t id) const {
  const auto entry = entries_.find(id);
  return entry != entries_.end() && entry->second.complete;
}

const Executable& Programs::find(std::uint32_t id) {
  Entry& known = entries_.at(id);
  if (known.failure) throw *known.failure;
  if (!known.found) {
    try {
      std::vector<std::string>& environment = known.program.environment;
      const bool chooses_interface = runtime::chooses_interface(environment);
      if (!chooses_interface) runtime::add_default(environment, runtime::host_environment(host_name_));
      for (std::string& variable : allocated_devices())
        runtime::add_default(environment, std::move(variable));
      known.found = resolve(std::move(known.program));
      known.found->chooses_interface = chooses_interface;
    } catch (const os::OsError& error) {
      known.failure = error;
      throw;
    }
  }
  return *known.found;
}

}  // namespace wireup::agent
