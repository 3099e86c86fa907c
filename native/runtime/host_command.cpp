#include "runtime/host_command.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "os/error.h"
#include "os/start_process.h"
#include "runtime/words.h"

namespace wireup::runtime {
namespace {

constexpr std::string_view kSizeMark = "%s";

struct StagedFile {
  os::UniqueFd fd;
  std::uint64_t size = 0;
};

StagedFile open_staged(const std::string& path) {
  StagedFile file;
  // A FIFO would wait for its writer.
  file.fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.fd) throw os::OsError::last("open", path);
  struct stat status {};
  if (::fstat(file.fd.get(), &status) != 0) throw os::OsError::last("fstat", path);
  if (!S_ISREG(status.st_mode)) throw os::OsError(EINVAL, "open", path);
  file.size = static_cast<std::uint64_t>(status.st_size);
  return file;
}

void replace_size(std::string& word, const std::string& size) {
  for (std::size_t at = 0; (at = word.find(kSizeMark, at)) != std::string::npos; at += size.size()) {
    word.replace(at, kSizeMark.size(), size);
  }
}

std::string path_of(const std::vector<std::string>& environment) {
  constexpr std::string_view kPath = "PATH=";
  for (const std::string& entry : environment) {
    if (entry.starts_with(kPath)) return entry.substr(kPath.size());
  }
  return {};
}

std::string why_not_started(const os::OsError& error) {
  const std::string reason = error.code().message();
  if (error.syscall() == "execve") return error.subject() + " cannot be executed: " + reason;
  if (error.syscall() == "open") return error.subject() + " cannot be read: " + reason;
  return error.what();
}

}  // namespace

HostCommand::HostCommand(os::Reactor& reactor, Reaper& reaper, HostCommandSpec spec,
                         HostCommandObserver& observer, HostCommandTiming timing)
    : reactor_(reactor), reaper_(reaper), spec_(std::move(spec)), observer_(observer), timing_(timing) {
  try {
    start();
  } catch (const os::OsError& error) {
    failure_ = why_not_started(error);
    close();
    conclude_after({});
    return;
  }
  if (spec_.timeout.count() == 0) return;
  timer_ = reactor_.after(spec_.timeout, [this] {
    timer_ = 0;
    failure_ = "no answer within " + in_words(spec_.timeout);
    conclude();
  });
}

HostCommand::~HostCommand() {
  reactor_.cancel(timer_);
  close();
}

void HostCommand::start() {
  StagedFile file;
  if (!spec_.stage.empty()) {
    file = open_staged(spec_.stage);
    for (std::string& word : spec_.command) replace_size(word, std::to_string(file.size));
  }
  os::FdPair in = os::make_pipe();
  os::FdPair out = os::make_pipe();
  os::FdPair err = os::make_pipe();
  os::ProcessSpec process;
  process.path = os::find_program(spec_.command.front(), path_of(spec_.environment), {});
  process.args = spec_.command;
  process.environment = spec_.environment;
  process.fds = {
      {in.first.get(), STDIN_FILENO}, {out.second.get(), STDOUT_FILENO}, {err.second.get(), STDERR_FILENO}};
  process.new_session = true;
  process_ = std::make_unique<ChildProcess>(reactor_, reaper_, process,
                                            [this](const os::ExitStatus& status) { on_exit(status); });
  StreamLinkOptions options;
  options.timing = timing_.link;
  if (spec_.same_host) options.timing.silence = std::chrono::milliseconds::zero();
  options.file = std::move(file.fd);
  options.file_size = file.size;
  options.on_up = [this] { on_up(); };
  link_ = std::make_unique<StreamLink>(reactor_, std::move(out.first), std::move(in.second),
                                       std::move(options), static_cast<LinkObserver&>(*this));
  stderr_ = std::make_unique<LineReader>(reactor_, std::move(err.first),
                                         [this](const std::string& line) { observer_.on_host_line(line); });
}

void HostCommand::send(std::string packet) {
  if (link_) link_->send(std::move(packet));
}

void HostCommand::hold(bool on) {
  if (link_) link_->hold(on);
  if (stderr_) stderr_->hold(on);
}

void HostCommand::on_up() {
  reactor_.cancel(std::exchange(timer_, 0));
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
  if (text.empty() && status_ && status_->signaled) {
    text = name() + " was killed by signal " + std::to_string(status_->value) + " (" +
           ::strsignal(status_->value) + ")";
  } else if (text.empty() && status_) {
    text = name() + " ended with code " + std::to_string(status_->value);
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
