#include "runtime/host_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>
#include <variant>

#include "runtime/words.h"

namespace wireup::runtime {
namespace {

constexpr std::string_view kSizeMark = "%s";

void open_staged(StartedHostCommand& command) {
  const std::string& path = command.spec.stage;
  // A FIFO would wait for its writer.
  command.staged.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!command.staged) throw os::OsError::last("open", path);
  struct stat status {};
  if (::fstat(command.staged.get(), &status) != 0) throw os::OsError::last("fstat", path);
  if (!S_ISREG(status.st_mode)) throw os::OsError(EINVAL, "open", path);
  command.staged_size = static_cast<std::uint64_t>(status.st_size);
}

// In the last word that has the mark: words before it are the user's, and may have a "%s" of their own.
void insert_size(std::vector<std::string>& words, std::uint64_t size) {
  const auto has_mark = [](const std::string& word) { return word.find(kSizeMark) != std::string::npos; };
  const auto word = std::find_if(words.rbegin(), words.rend(), has_mark);
  if (word != words.rend()) word->replace(word->find(kSizeMark), kSizeMark.size(), std::to_string(size));
}

std::string path_of(const std::vector<std::string>& environment) {
  constexpr std::string_view kPath = "PATH=";
  for (const std::string& entry : environment) {
    if (entry.starts_with(kPath)) return entry.substr(kPath.size());
  }
  return {};
}

// The command's ends of its stdin, stdout and stderr.
struct Pipes {
  os::UniqueFd in;
  os::UniqueFd out;
  os::UniqueFd err;
};

// Opens what the command needs. Throws OsError.
os::ProcessSpec prepare(StartedHostCommand& command, Pipes& pipes) {
  if (!command.spec.stage.empty()) {
    open_staged(command);
    insert_size(command.spec.command, command.staged_size);
  }
  const auto connect = [](os::UniqueFd& read_end, os::UniqueFd& write_end) {
    os::FdPair pipe = os::make_pipe();
    read_end = std::move(pipe.first);
    write_end = std::move(pipe.second);
  };
  connect(pipes.in, command.in);
  connect(command.out, pipes.out);
  connect(command.err, pipes.err);
  const std::vector<std::string>& words = command.spec.command;
  os::ProcessSpec process;
  process.path = os::find_program(words.front(), path_of(command.spec.environment), {});
  process.args = words;
  process.environment = command.spec.environment;
  process.fds = {
      {pipes.in.get(), STDIN_FILENO}, {pipes.out.get(), STDOUT_FILENO}, {pipes.err.get(), STDERR_FILENO}};
  process.new_session = true;
  return process;
}

}  // namespace

std::string why_not_started(const os::OsError& error) {
  const std::string reason = error.code().message();
  if (error.syscall() == "execve") return error.subject() + " cannot be executed: " + reason;
  if (error.syscall() == "open") return error.subject() + " cannot be read: " + reason;
  return error.what();
}

std::string how_it_ended(const std::string& name, const os::ExitStatus& status) {
  if (!status.signaled) return name + " ended with code " + std::to_string(status.value);
  return name + " was killed by signal " + std::to_string(status.value) + " (" + ::strsignal(status.value) +
         ")";
}

std::vector<StartedHostCommand> start_host_commands(std::vector<HostCommandSpec> specs) {
  std::vector<StartedHostCommand> commands;
  std::vector<Pipes> pipes;
  std::vector<os::ProcessSpec> processes;
  commands.reserve(specs.size());
  for (HostCommandSpec& spec : specs) commands.push_back({.spec = std::move(spec)});
  for (StartedHostCommand& command : commands) {
    try {
      processes.push_back(prepare(command, pipes.emplace_back()));
      command.process.emplace_back();
    } catch (const os::OsError& error) {
      command.error = error;
    }
  }
  std::vector<os::StartResult> results = os::start_processes(processes);
  auto result = results.begin();
  for (StartedHostCommand& command : commands) {
    if (command.error) continue;
    if (auto* const process = std::get_if<os::StartedProcess>(&*result)) {
      command.process.front().process = std::move(*process);
    } else {
      command.process.clear();
      command.error = std::get<os::OsError>(std::move(*result));
    }
    ++result;
  }
  return commands;
}

HostCommand::HostCommand(os::Reactor& reactor, Reaper& reaper, StartedHostCommand started,
                         HostCommandObserver& observer, HostCommandTiming timing)
    : reactor_(reactor),
      reaper_(reaper),
      spec_(std::move(started.spec)),
      observer_(observer),
      timing_(timing) {
  try {
    if (started.error) throw os::OsError(*started.error);
    watch(started);
  } catch (const os::OsError& error) {
    reaper_.adopt(started.process, {});
    failure_ = why_not_started(error);
    close();
    conclude_after({});
  } catch (...) {
    reaper_.adopt(started.process, {});
    throw;
  }
}

HostCommand::~HostCommand() {
  reactor_.cancel(timer_);
  close();
}

void HostCommand::watch(StartedHostCommand& started) {
  process_ = std::make_unique<ChildProcess>(reactor_, reaper_, started.process,
                                            [this](const os::ExitStatus& status) { on_exit(status); });
  StreamLinkOptions options;
  options.timing = timing_.link;
  if (spec_.same_host) options.timing.silence = std::chrono::milliseconds::zero();
  options.file = std::move(started.staged);
  options.file_size = started.staged_size;
  options.on_up = [this] { on_up(); };
  link_ = std::make_unique<StreamLink>(reactor_, std::move(started.out), std::move(started.in),
                                       std::move(options), static_cast<LinkObserver&>(*this));
  stderr_ = std::make_unique<LineReader>(reactor_, std::move(started.err),
                                         [this](const std::string& line) { observer_.on_host_line(line); });
}

void HostCommand::send(std::string packet) {
  if (link_) link_->send(std::move(packet));
}

void HostCommand::hold(bool on) {
  if (link_) link_->hold(on);
  if (stderr_) stderr_->hold(on);
}

void HostCommand::give_up(std::string why) {
  failure_ = std::move(why);
  conclude();
}

void HostCommand::on_up() {
  up_ = true;
  // Warnings of the login do not explain a later end.
  const os::Lifetime::Watch watch(lifetime_);
  stderr_->read_now();
  if (watch.gone()) return;
  stderr_->forget_kept();
  observer_.on_host_up();
}

void HostCommand::on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>>) {
  observer_.on_host_packet(packet);
}

void HostCommand::on_link_end(LinkEnd why, int, const std::string& detail) {
  link_ended_ = true;
  if (why != LinkEnd::closed) {
    failure_ = detail;
    // It has not moved for seconds, so it would not end by itself.
    if (why == LinkEnd::silent) timing_.grace = std::chrono::milliseconds::zero();
    return conclude();
  }
  // The exit status of the command explains more.
  if (status_) return conclude();
  conclude_after(timing_.last_words);
}

void HostCommand::on_exit(const os::ExitStatus& status) {
  status_ = status;
  process_.reset();
  if (link_ended_) return conclude();
  // Its output is read to the end, unless another process keeps it open.
  conclude_after(timing_.last_words);
}

void HostCommand::conclude_after(std::chrono::milliseconds delay) {
  reactor_.cancel(timer_);
  timer_ = reactor_.after(delay, [this] {
    timer_ = 0;
    conclude();
  });
}

void HostCommand::conclude() {
  reactor_.cancel(std::exchange(timer_, 0));
  if (stderr_) {
    const os::Lifetime::Watch watch(lifetime_);
    stderr_->finish();
    if (watch.gone()) return;
  }
  const std::string text = message();
  close();
  observer_.on_host_end(text);
}

std::string HostCommand::name() const {
  const std::string& program = spec_.command.front();
  return program.substr(program.rfind('/') + 1) + " " + spec_.host;
}

std::string HostCommand::message() const {
  std::string text = failure_;
  // A failed link explains itself.
  if (!failure_.empty() && link_ended_) return text;
  if (text.empty() && status_) {
    text = how_it_ended(name(), *status_);
  } else if (text.empty()) {
    text = name() + " closed its output";
  }
  std::string lines = stderr_ ? last_lines(stderr_->kept()) : std::string();
  // Some refusals are written to stdout, for example that of nologin(8).
  if (lines.empty() && link_ && !up_) lines = last_lines(link_->noise());
  return lines.empty() ? text : text + ": " + lines;
}

// Closes the command's stdin first, so that it can end by itself. While it waits for the host, it may not
// read its stdin.
void HostCommand::close() {
  link_.reset();
  stderr_.reset();
  if (process_ && !up_) process_->terminate();
  if (process_) process_->give_up(timing_.grace);
  process_.reset();
}

}  // namespace wireup::runtime
