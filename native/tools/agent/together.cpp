#include "tools/agent/together.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include "runtime/link_version.h"
#include "runtime/listen_addresses.h"
#include "runtime/words.h"
#include "wire/link_framer.h"

namespace wireup::agent {

namespace boot = wire::boot;

namespace {

using std::chrono::milliseconds;

// Lines that are kept: until all hosts have joined, and about the ends of tasks after that.
constexpr std::size_t kMaxReportedLines = 64;
// How long the command's output may come after its end.
constexpr milliseconds kLastWords{1000};
// Until a command is ended whose agents have ended, and from then on until it is killed.
constexpr milliseconds kGrace{2000};

constexpr std::string_view kSrunError = "srun: error: ";
constexpr std::string_view kTask = ": task";

// "srun: error: Node failure on n2": slurmctld has given the node up, and Slurm ends the step on the others.
constexpr std::string_view kNodeFailure = "Node failure on ";

// Whether srun reports that agents have ended or were killed: "srun: error: n2: task 1: Killed". Another
// reason, such as a lack of memory, is not known to this host.
bool is_end_of_task(std::string_view line) {
  return line.starts_with(kSrunError) && line.find(kTask) != std::string_view::npos &&
         (line.ends_with(": Killed") || line.ends_with(": Terminated") ||
          line.find(": Exited with exit code ") != std::string_view::npos);
}

// What srun writes when it ends a step.
bool is_end_of_step(std::string_view line) {
  static constexpr std::string_view kBeginnings[] = {
      "srun: Terminating StepId=", "srun: launch/slurm: _step_signal: Terminating StepId=",
      "srun: Force Terminated "};
  return std::ranges::any_of(kBeginnings, [&](std::string_view begin) { return line.starts_with(begin); });
}

// What srun writes when it gets a signal, and when the step is cancelled.
constexpr std::string_view kAborted = "srun: Job step aborted: ";

}  // namespace

// Writes the record to the command's stdin, and keeps it open: its end is that of agents which have not
// joined.
class Together::Feed final : os::Handler {
 public:
  Feed(os::Reactor& reactor, os::UniqueFd fd) : reactor_(reactor), fd_(std::move(fd)) {
    os::set_nonblocking(fd_.get(), true);
  }
  ~Feed() override { unwatch(); }
  // Once.
  void write(std::string bytes) {
    bytes_ = std::move(bytes);
    reactor_.add(fd_.get(), EPOLLOUT, *this);
    watched_ = true;
  }

 private:
  void on_ready(std::uint32_t) override {
    const ssize_t size = ::write(fd_.get(), bytes_.data() + sent_, bytes_.size() - sent_);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size > 0) sent_ += static_cast<std::size_t>(size);
    // After an error, the end of the command is the reason.
    if (size >= 0 && sent_ < bytes_.size()) return;
    bytes_.clear();
    unwatch();
  }
  void unwatch() {
    if (std::exchange(watched_, false)) reactor_.remove(fd_.get(), *this);
  }

  os::Reactor& reactor_;
  os::UniqueFd fd_;
  std::string bytes_;
  std::size_t sent_ = 0;
  bool watched_ = false;
};

Together::Together(os::Reactor& reactor, runtime::Reaper& reaper, wire::agent::StartTogether start,
                   TogetherObserver& observer)
    : reactor_(reactor), reaper_(reaper), observer_(observer), start_(std::move(start)) {
  addresses_ = runtime::listen_addresses(start_.iface);
  for (std::size_t i = 0; i < start_.hosts.size(); ++i) places_.emplace(start_.hosts[i], i);
  const std::string& program = start_.command.front();
  program_ = program.substr(program.rfind('/') + 1);
  runtime::HostCommandSpec spec{
      .host = program_, .command = std::move(start_.command), .environment = std::move(start_.environment)};
  std::vector<runtime::StartedHostCommand> started = runtime::start_host_commands({std::move(spec)});
  runtime::StartedHostCommand& command = started.front();
  if (command.error) {
    how_ = runtime::why_not_started(*command.error);
    conclude_after({});
    return;
  }
  try {
    watch(command);
  } catch (...) {
    reaper_.adopt(command.process, {});
    throw;
  }
}

void Together::watch(runtime::StartedHostCommand& command) {
  process_ = std::make_unique<runtime::ChildProcess>(
      reactor_, reaper_, command.process, [this](const os::ExitStatus& status) { on_exit(status); });
  const auto on_text = [this](const std::string& line) { on_line(line); };
  stdin_ = std::make_unique<Feed>(reactor_, std::move(command.in));
  stdout_ = std::make_unique<runtime::LineReader>(reactor_, std::move(command.out), on_text);
  stderr_ = std::make_unique<runtime::LineReader>(reactor_, std::move(command.err), on_text);
}

Together::~Together() {
  reactor_.cancel(timer_);
  end_command();
}

void Together::open() {
  os::require_zmq(!start_.insecure);
  if (!start_.insecure) keys_ = os::make_zmq_keys();
  // All hosts join at the same time.
  hub_ = std::make_unique<runtime::ZmqHub>(
      reactor_, runtime::ZmqHubOptions{
                    .addresses = std::move(addresses_), .keys = keys_, .peers = start_.hosts.size()});
  boot::Record plan{
      .width = start_.width, .hosts = start_.hosts, .names = start_.names, .iface = start_.iface};
  joins_ = std::make_unique<runtime::ZmqJoins>(*hub_, keys_, std::move(plan),
                                               [this](const boot::Join& join) { on_join(join); });
  if (stdin_)
    stdin_->write(wire::encode_greeting(runtime::own_greeting()) +
                  wire::encode_frame(boot::encode(joins_->record())));
}

std::uint32_t Together::parent_of(std::uint32_t host) const {
  const boot::Record& record = joins_->record();
  const std::size_t above = boot::parent_of(places_.at(host) + 1, record.width);
  return above == 0 ? wire::agent::kOwnHost : record.hosts[above - 1];
}

void Together::on_join(const boot::Join& join) {
  const std::uint32_t parent = parent_of(join.host);
  joined_.emplace(join.host, join);
  if (parent != wire::agent::kOwnHost) waiting_.insert(join.host);
  if (joined_.size() == places_.size()) {
    for (const std::string& line : std::exchange(lines_, {})) observer_.on_start_line(line);
  }
  observer_.on_host_joined(join.host, parent, join.key);
}

bool Together::is_waiting(std::uint32_t child, std::uint32_t parent) const {
  return waiting_.contains(child) && parent_of(child) == parent;
}

void Together::answer(std::uint32_t host) {
  waiting_.erase(host);
  const std::uint32_t number = parent_of(host);
  // A parent that expects its child has joined itself.
  const boot::Join& parent = joined_.at(number);
  boot::Joined joined{.parent = number, .endpoints = parent.endpoints};
  if (!keys_.secret_key.empty()) joined.parent_key = parent.key;
  joins_->answer(host, joined);
}

std::string Together::last_lines() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return runtime::last_lines(text);
}

std::string Together::last_words() const {
  const std::string lines = last_lines();
  return how_.empty() || lines.empty() ? how_ + lines : how_ + ": " + lines;
}

void Together::on_line(const std::string& line) {
  if (joined_.size() == places_.size()) {
    if (report_node_failure(line)) return;
    // The loss of a host is reported with its name and its reason, and these lines only repeat it.
    if (is_end_of_task(line)) {
      if (ends_.size() < kMaxReportedLines) ends_.push_back(line);
      return;
    }
    const bool is_noise = (is_losing_ && is_end_of_step(line)) || (terminated_ && line.starts_with(kAborted));
    if (!is_noise) observer_.on_start_line(line);
    return;
  }
  lines_.push_back(line);
  if (lines_.size() > kMaxReportedLines) lines_.pop_front();
  judge_line(line);
}

// Slurm then ends the agents of the other hosts, whose loss would be the first that is known.
bool Together::report_node_failure(const std::string& line) {
  std::string_view name = line;
  if (!name.starts_with(kSrunError)) return false;
  name.remove_prefix(kSrunError.size());
  if (!name.starts_with(kNodeFailure)) return false;
  name.remove_prefix(kNodeFailure.size());
  const auto place = boot::place_of(joins_->record(), name);
  if (!place) return false;
  observer_.on_host_failed(joins_->record().hosts[*place], line);
  return true;
}

void Together::judge_line(std::string_view line) {
  if (line.starts_with(kAgentPrefix)) {
    line.remove_prefix(kAgentPrefix.size());
    const std::size_t at = line.find(kCouldNotJoin);
    if (at == std::string_view::npos) return;
    fail(line.substr(0, at), std::string(line.substr(at + kCouldNotJoin.size())));
  } else if (line.starts_with(kSrunError)) {
    line.remove_prefix(kSrunError.size());
    const std::size_t at = line.find(kTask);
    if (at != std::string_view::npos) {
      fail(line.substr(0, at), last_lines());
    } else if (line.starts_with(kNodeFailure)) {
      fail(line.substr(kNodeFailure.size()), last_lines());
    }
  }
}

// `name` is that of a host, or srun's name for several of them; then all that have not joined fail.
void Together::fail(std::string_view name, const std::string& message) {
  const auto place = boot::place_of(joins_->record(), name);
  const std::vector<std::uint32_t> hosts =
      place ? std::vector{joins_->record().hosts[*place]} : joins_->missing();
  for (const std::uint32_t host : hosts) {
    if (joined_.contains(host) || !failed_.insert(host).second) continue;
    observer_.on_host_failed(host, place ? message : std::string(name) + ": " + message);
  }
}

void Together::on_exit(const os::ExitStatus& status) {
  how_ = runtime::how_it_ended(program_, status);
  process_.reset();
  // The last messages of its agents come over other connections.
  conclude_after(finishing_ ? milliseconds::zero() : kLastWords);
}

void Together::finish(bool now) {
  if (std::exchange(finishing_, true) || over_) return;
  is_losing_ = is_losing_ || now;
  stdin_.reset();
  if (!process_) return conclude_after({});
  if (now) {
    terminated_ = true;
    process_->terminate();
  }
  conclude_after(kGrace);
}

void Together::conclude_after(milliseconds delay) {
  reactor_.cancel(timer_);
  timer_ = reactor_.after(delay, [this] {
    timer_ = 0;
    conclude();
  });
}

void Together::conclude() {
  over_ = true;
  for (auto* reader : {stdout_.get(), stderr_.get()}) {
    if (reader != nullptr) reader->finish();
  }
  end_command();
  if (!is_losing_) {
    for (const std::string& line : std::exchange(ends_, {})) observer_.on_start_line(line);
  }
  observer_.on_start_end(last_words());
}

void Together::end_command() {
  stdin_.reset();
  stdout_.reset();
  stderr_.reset();
  if (!process_) return;
  process_->terminate();
  process_->give_up(kGrace);
  process_.reset();
}

}  // namespace wireup::agent
