#include "tools/agent/router.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <utility>
#include <variant>

#include "runtime/local_link.h"
#include "runtime/stream_link.h"

namespace wireup::agent {

using namespace wire::agent;

namespace {

// Bytes that may wait for the parent before children are held. A child sends at most its last read more.
constexpr std::size_t kMaxUnsentBeforeHold = 4 << 20;

// Whether an agent may send such a message upward.
bool goes_up(std::uint8_t kind) {
  static constexpr std::uint8_t kUp[] = {
      kind_of<Fence>(),        kind_of<InputReaders>(), kind_of<wire::agent::Output>(),
      kind_of<Credit>(),       kind_of<Ready>(),        kind_of<HostLost>(),
      kind_of<GroupReady>(),   kind_of<GroupFailed>(),  kind_of<Started>(),
      kind_of<StartFailed>(),  kind_of<Exited>(),       kind_of<OutputLost>(),
      kind_of<Printed>(),      kind_of<Events>(),       kind_of<EventsMissed>(),
      kind_of<TraceLines>(),   kind_of<SpawnQuery>(),   kind_of<NameQuery>(),
      kind_of<BarrierQuery>(), kind_of<StatusReply>(),  kind_of<Done>(),
      kind_of<ClockQuery>(),   kind_of<InspectReply>(), kind_of<Expected>()};
  return std::ranges::find(kUp, kind) != std::end(kUp);
}

// Whether the message is about the launcher's stdin, stdout or stderr, which the agent of host 0 has.
bool is_for_streams(std::uint8_t kind) {
  return kind == kind_of<wire::agent::Output>() || kind == kind_of<Credit>() ||
         kind == kind_of<InputReaders>();
}

}  // namespace

// Calls `on_end` when stdin has ended. The call may destroy it.
class Router::JoinInput final : os::Handler {
 public:
  JoinInput(os::Reactor& reactor, os::UniqueFd fd, std::function<void()> on_end)
      : reactor_(reactor), fd_(std::move(fd)), on_end_(std::move(on_end)) {
    reactor_.add(fd_.get(), EPOLLIN, *this);
  }
  ~JoinInput() override { reactor_.remove(fd_.get(), *this); }
  JoinInput(const JoinInput&) = delete;
  JoinInput& operator=(const JoinInput&) = delete;

 private:
  void on_ready(std::uint32_t) override {
    std::array<char, 64> ignored;
    const ssize_t size = ::read(fd_.get(), ignored.data(), ignored.size());
    if (size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR))) return;
    const std::function<void()> on_end = on_end_;
    on_end();
  }

  os::Reactor& reactor_;
  os::UniqueFd fd_;
  std::function<void()> on_end_;
};

Router::Router(os::Reactor& reactor, ParentEnd parent, RouterObserver& observer)
    : reactor_(reactor), observer_(observer), reaper_(reactor), remote_(parent.out || parent.tree) {
  auto& own = static_cast<runtime::LinkObserver&>(*this);
  if (parent.tree) {
    hub_ = std::move(parent.tree->hub);
    // The parent may be gone too, and this host would try to reach it for long.
    join_input_ = std::make_unique<JoinInput>(reactor, std::move(parent.in), [this] {
      join_input_.reset();
      lose_parent({});
    });
    const auto on_up = [this] { join_input_.reset(); };
    parent_ = parent.tree->port
                  ? runtime::link_to_zmq_parent(reactor, std::move(parent.tree->port), {}, on_up, own)
                  : runtime::connect_to_zmq_parent(reactor, std::move(parent.tree->parent), on_up, own);
  } else if (remote_) {
    runtime::StreamLinkOptions options{.side = runtime::StreamLinkOptions::Side::child};
    if (parent.same_host) options.timing.silence = std::chrono::milliseconds::zero();
    parent_ = std::make_unique<runtime::StreamLink>(reactor, std::move(parent.in), std::move(parent.out),
                                                    std::move(options), own);
  } else {
    parent_ = std::make_unique<runtime::LocalLink>(reactor, std::move(parent.in), own);
  }
}

Router::~Router() { reactor_.cancel(start_timer_); }

// Before Hello this host does not know its number. The parent then sets it.
void Router::send(const Message& message) { parent_->send(encode(host_.value_or(kEveryHost), message)); }

void Router::send_to(std::uint32_t host, const Message& message) {
  if (const auto child = child_of(host)) {
    children_.at(*child)->send(encode(host, message));
  } else if (host == kOwnHost && this->host() != kOwnHost) {
    send(message);
  }
}

const char* Router::start_host(StartHost start) {
  const std::uint32_t host = start.host;
  const bool joins = start.joins;
  if (start.command.empty() && !joins) return "starts a host without a command";
  const auto child = children_.find(host);
  if (child != children_.end() && child->second->joins() && !child->second->expected() && !joins) {
    child->second->reach_by_command(std::move(start));
  } else {
    if (host == kEveryHost || host == this->host() || below_.contains(host))
      return "starts a host that exists";
    below_.emplace(host, host);
    children_.emplace(host, std::make_unique<ChildHost>(reactor_, reaper_, std::move(start),
                                                        static_cast<ChildHostObserver&>(*this)));
  }
  if (joins) {
    children_.at(host)->wait_for_join();
  } else {
    to_start_.push_back(host);
    start_children_soon();
  }
  return nullptr;
}

const char* Router::start_together(StartTogether start) {
  if (host() != kOwnHost || together_ || start.command.empty() || start.hosts.empty() || start.width == 0 ||
      start.names.size() != start.hosts.size())
    return "is an invalid start of hosts";
  for (const std::uint32_t host : start.hosts) {
    if (!child_of(host)) return "starts unknown hosts";
  }
  try {
    together_ = std::make_unique<Together>(reactor_, reaper_, std::move(start),
                                           static_cast<TogetherObserver&>(*this));
    together_->open();
  } catch (const std::exception& error) {
    if (together_) dropped_.insert(together_->pid());
    together_.reset();
    send(NotTogether{error.what()});
  }
  return nullptr;
}

void Router::on_host_joined(std::uint32_t host, std::uint32_t parent, const std::string& key) {
  if (parent != kOwnHost) return send_to(parent, ExpectHost{host, key});
  const auto child = children_.find(host);
  if (child == children_.end()) return;
  child->second->adopt(together_->hub(), together_->peer(host));
  if (holds_children_) child->second->hold(true);
}

const char* Router::expect_host(const ExpectHost& expected) {
  if (!hub_) return "is for a host without children";
  const auto child = children_.find(expected.host);
  if (child == children_.end()) return nullptr;  // it was late
  if (!child->second->joins() || child->second->expected()) return "expects a host that does not join";
  child->second->expect(*hub_, expected.key);
  if (holds_children_) child->second->hold(true);
  send(Expected{expected.host});
  return nullptr;
}

void Router::on_host_failed(std::uint32_t host, const std::string& message) {
  const auto child = child_of(host);
  if (!child) return;
  if (*child == host) return lose(*children_.at(host), message);
  send_to(host, DropHost{message});
}

void Router::on_start_end(const std::string& message) {
  std::vector<std::uint32_t> lost;
  for (const auto& [host, child] : children_) {
    if (child->joins() && !child->done()) lost.push_back(host);
  }
  for (const std::uint32_t host : lost) {
    if (children_.contains(host)) lose(*children_.at(host), message);
  }
  observer_.on_child_gone();
}

void Router::finish_together(bool now) {
  if (together_ && std::ranges::none_of(children_, [](const auto& entry) { return entry.second->joins(); }))
    together_->finish(now);
}

void Router::start_children_soon() {
  if (start_timer_ != 0 || to_start_.empty()) return;
  start_timer_ = reactor_.after({}, [this] {
    start_timer_ = 0;
    start_children();
  });
}

void Router::start_children() {
  auto room = kMaxStarting;
  for (const auto& [host, child] : children_) {
    if (child->starting()) --room;
  }
  std::vector<ChildHost*> children;
  std::vector<runtime::HostCommandSpec> specs;
  for (; room > 0 && !to_start_.empty(); to_start_.pop_front()) {
    const auto child = children_.find(to_start_.front());
    if (child == children_.end()) continue;
    children.push_back(child->second.get());
    specs.push_back(child->second->spec());
    --room;
  }
  std::vector<runtime::StartedHostCommand> commands = runtime::start_host_commands(std::move(specs));
  for (std::size_t i = 0; i < children.size(); ++i) {
    children[i]->start(std::move(commands[i]));
    if (holds_children_) children[i]->hold(true);
  }
}

std::optional<std::uint32_t> Router::child_of(std::uint32_t host) const {
  const auto found = below_.find(host);
  if (found == below_.end() || !children_.contains(found->second)) return std::nullopt;
  return found->second;
}

std::size_t Router::unsent_to(std::uint32_t child) const {
  const auto found = children_.find(child);
  return found == children_.end() ? 0 : found->second->unsent();
}

std::vector<std::uint32_t> Router::unfinished() const {
  std::vector<std::uint32_t> result;
  for (const auto& [host, child] : children_) {
    if (!child->done()) result.push_back(host);
  }
  return result;
}

std::uint64_t Router::refused() const {
  if (hub_) return hub_->refused();
  return together_ ? together_->hub().refused() : 0;
}

void Router::drop_children() {
  reactor_.cancel(std::exchange(start_timer_, 0));
  to_start_.clear();
  for (const auto& [host, child] : children_) dropped_.insert(child->pid());
  const bool unready =
      std::ranges::any_of(children_, [](const auto& entry) { return !entry.second->ready(); });
  children_.clear();
  finish_together(unready);
}

void Router::drop_unready_children() {
  std::erase_if(children_, [this](const auto& entry) {
    if (entry.second->ready()) return false;
    dropped_.insert(entry.second->pid());
    dropped_unready_ = dropped_unready_ || entry.second->joins();
    return true;
  });
  finish_together(dropped_unready_);
}

bool Router::is_command(pid_t pid) const {
  return dropped_.contains(pid) || (together_ && together_->pid() == pid) ||
         std::ranges::any_of(children_, [pid](const auto& entry) { return entry.second->pid() == pid; });
}

void Router::on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) {
  if (parent_gone_) return;
  const auto header = read_header(packet);
  if (!header) return observer_.on_invalid("cannot be read");
  const bool is_hello = header->kind == kind_of<Hello>();
  // The job may end before this host is greeted.
  if (!host_ && !is_hello && header->kind != kind_of<End>()) return observer_.on_invalid("came before hello");
  const std::uint32_t own = host_.value_or(header->host);
  if (header->host != own) {
    if (header->host != kEveryHost && !below_.contains(header->host))
      return observer_.on_invalid("is for an unknown host");
    pass_down(*header, packet);
    if (header->host != kEveryHost) return;
  }
  auto message = decode(packet);
  if (!message) return observer_.on_invalid("cannot be read");
  if (is_hello) host_ = own;
  observer_.on_message(*message, std::move(fds));
}

void Router::pass_down(const Header& header, std::string_view packet) {
  if (header.host == kEveryHost) {
    if (header.kind == kind_of<End>()) drop_unready_children();
    for (const auto& [host, child] : children_) child->send(std::string(packet));
    return;
  }
  const auto child = child_of(header.host);
  if (!child) {
    // It is lost, and the launcher does not know that yet.
    if (header.kind == kind_of<StartHost>()) refuse_below(below_.at(header.host), packet);
    return;
  }
  if (header.kind == kind_of<StartHost>()) learn_below(*child, packet);
  if (header.kind == kind_of<DropHost>() && *child == header.host) {
    const auto message = decode(packet);
    return lose(*child, message ? std::get<DropHost>(*message).message : std::string());
  }
  children_.at(*child)->send(std::string(packet));
}

// A host below this one gets another child.
void Router::learn_below(std::uint32_t child, std::string_view packet) {
  const auto message = decode(packet);
  if (!message) return;
  below_.emplace(std::get<StartHost>(*message).host, child);
}

// A host below this one was to get another child after its own loss.
void Router::refuse_below(std::uint32_t child, std::string_view packet) {
  const auto message = decode(packet);
  if (!message) return;
  const std::uint32_t host = std::get<StartHost>(*message).host;
  if (!below_.emplace(host, child).second) return;
  observer_.on_pass_up();
  send(HostLost{host, false, {}, false});
  observer_.on_host_lost(host);
}

void Router::on_child_packet(ChildHost& child, std::string_view packet) {
  if (const char* fault = receive(child, packet)) {
    lose(child, std::string("the agent's message ") + fault);
  }
}

const char* Router::receive(ChildHost& child, std::string_view packet) {
  const auto header = read_header(packet);
  if (!header) return "cannot be read";
  if (!goes_up(header->kind)) return "is not for a parent";
  const bool is_ready = header->kind == kind_of<Ready>();
  const bool is_done = header->kind == kind_of<Done>();
  const bool unnumbered = header->host == kEveryHost && (is_ready || is_done);
  const std::uint32_t host = unnumbered ? child.host() : header->host;
  if (child_of(host) != child.host()) return "is from an unknown host";
  if (!child.ready() && !is_ready) return "came before ready";
  const bool stays =
      header->kind == kind_of<Fence>() || (is_for_streams(header->kind) && this->host() == kOwnHost);
  const bool is_loss = header->kind == kind_of<HostLost>();
  const bool ends_here = header->kind == kind_of<Expected>() && this->host() == kOwnHost;
  if (!is_ready && !stays && !is_done && !is_loss && !ends_here) {
    pass_up(std::string(packet));
    return nullptr;
  }
  auto message = decode(packet);
  if (!message) return "cannot be read";
  if (is_ready) {
    if (host == child.host()) {
      if (child.ready()) return "is a second ready";
      child.set_ready();
      start_children_soon();
    }
    pass_up(encode(host, *message));
  } else if (is_loss) {
    const std::uint32_t lost = std::get<HostLost>(*message).host;
    if (lost == child.host() || child_of(lost) != child.host()) return "loses an unknown host";
    if (together_ && together_->has(lost)) together_->host_lost();
    pass_up(std::string(packet));
    observer_.on_host_lost(lost);
  } else if (ends_here) {
    const std::uint32_t expected = std::get<Expected>(*message).host;
    if (!together_ || !together_->is_waiting(expected, host)) return "expects an unknown host";
    together_->answer(expected);
  } else if (stays) {
    return observer_.on_message_below(child.host(), host, *message);
  } else {
    // The agents below it have sent theirs to it.
    if (host != child.host()) return "is of a host below it";
    child.set_done();
  }
  return nullptr;
}

void Router::pass_up(std::string packet) {
  observer_.on_pass_up();
  parent_->send(std::move(packet));
  if (holds_children_ || unsent() <= kMaxUnsentBeforeHold) return;
  hold_children(true);
}

void Router::on_link_taken() {
  if (holds_children_ && unsent() <= kMaxUnsentBeforeHold / 2) hold_children(false);
  observer_.on_parent_taken();
}

void Router::hold_children(bool on) {
  holds_children_ = on;
  // What a child was not asked for meanwhile may arrive in hold(), and end it.
  std::vector<std::uint32_t> hosts;
  for (const auto& [host, child] : children_) hosts.push_back(host);
  for (const std::uint32_t host : hosts) {
    if (holds_children_ != on) return;
    if (children_.contains(host)) children_.at(host)->hold(on);
  }
}

void Router::on_child_line(ChildHost&, const std::string& line) { observer_.on_child_stderr(line); }

void Router::on_child_end(ChildHost& child, const std::string& message) {
  // The end of the command is often the reason.
  const std::string words = child.joins() && together_ ? together_->last_words() : "";
  lose(child, words.empty() ? message : message + ": " + words);
}

void Router::lose(ChildHost& child, const std::string& message) {
  const std::uint32_t number = child.host();
  const bool was_ready = child.ready();
  const bool done = child.done();
  const bool late = child.late();
  const bool joins = child.joins();
  children_.erase(number);
  start_children_soon();
  observer_.on_pass_up();
  const auto report = [&](std::uint32_t host) {
    send(HostLost{host, was_ready, message, late && host == number});
    observer_.on_host_lost(host);
  };
  if (!done) report(number);
  for (const auto& [host, below] : below_) {
    if (below == number && host != number && !done) report(host);
  }
  if (joins && !was_ready) dropped_unready_ = true;
  if (joins && together_ && !done) together_->host_lost();
  finish_together(dropped_unready_);
  observer_.on_child_gone();
}

void Router::on_link_end(runtime::LinkEnd why, int error, const std::string& detail) {
  // If the parent was killed, no message is needed.
  const bool orderly = why == runtime::LinkEnd::closed || error == ECONNRESET;
  lose_parent(orderly ? std::string() : detail);
}

void Router::lose_parent(const std::string& fault) {
  if (!std::exchange(parent_gone_, true)) observer_.on_parent_gone(fault);
}

}  // namespace wireup::agent
