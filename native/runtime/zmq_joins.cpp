#include "runtime/zmq_joins.h"

#include <algorithm>
#include <span>
#include <utility>

#include "os/random.h"
#include "wire/zmq_key.h"

namespace wireup::runtime {

namespace boot = wire::boot;

namespace {

// As many random bits as a key has.
constexpr std::size_t kPasswordSize = 32;

std::string random_bytes(std::size_t size) {
  std::string bytes(size, '\0');
  os::fill_random(std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

bool is_child_of_root(const boot::Record& record, std::uint32_t host) {
  const auto place = std::ranges::find(record.hosts, host) - record.hosts.begin();
  return boot::parent_of(static_cast<std::size_t>(place) + 1, record.width) == 0;
}

}  // namespace

std::string make_zmq_password() { return wire::encode_z85(random_bytes(kPasswordSize)); }

ZmqJoins::ZmqJoins(ZmqHub& hub, const os::ZmqKeys& keys, wire::boot::Record plan, OnJoin on_join)
    : hub_(hub), record_(std::move(plan)), on_join_(std::move(on_join)) {
  const bool secure = !keys.secret_key.empty();
  const os::ZmqKeys join = secure ? os::make_zmq_keys() : os::ZmqKeys{};
  const std::string password = make_zmq_password();
  record_.job = random_bytes(boot::kJobIdSize);
  record_.endpoints = hub.endpoints();
  record_.root_key = keys.public_key;
  record_.join_key = secure ? join.secret_key : password;
  hub_.admit_joins(
      secure ? join.public_key : password,
      [this](const ZmqHub::Joiner& peer, std::string_view message) { return take(peer, message); });
}

ZmqJoins::~ZmqJoins() { hub_.admit_joins({}, nullptr); }

bool ZmqJoins::take(const ZmqHub::Joiner& peer, std::string_view message) {
  const auto join = boot::decode_join(message);
  if (!join || !wire::same_secret(join->job, record_.job)) return false;
  if (std::ranges::find(record_.hosts, join->host) == record_.hosts.end()) return false;
  if (!peers_.emplace(join->host, peer).second) return false;
  // No peer can use the record any more.
  if (peers_.size() == record_.hosts.size()) hub_.admit_joins({}, nullptr);
  on_join_(*join);
  return true;
}

void ZmqJoins::answer(std::uint32_t host, const boot::Joined& joined) {
  hub_.answer(peers_.at(host), boot::encode(joined));
}

std::vector<std::uint32_t> ZmqJoins::missing() const {
  std::vector<std::uint32_t> result;
  std::ranges::copy_if(record_.hosts, std::back_inserter(result),
                       [this](std::uint32_t host) { return !peers_.contains(host); });
  return result;
}

ZmqJoiner::ZmqJoiner(os::Reactor& reactor, const boot::Record& record, std::uint32_t host,
                     const os::ZmqKeys& keys, std::vector<std::string> endpoints, const ZmqTiming& timing,
                     OnAnswer on_answer, std::chrono::milliseconds give_up)
    : join_{record.job, host, keys.public_key, std::move(endpoints)},
      parent_is_root_(is_child_of_root(record, host)),
      on_answer_(std::move(on_answer)) {
  ZmqParentOptions options{
      .endpoints = record.endpoints, .parent_key = record.root_key, .timing = timing, .give_up = give_up};
  if (record.root_key.empty()) {
    options.password = record.join_key;
  } else {
    options.keys = os::zmq_keys_of(record.join_key);
  }
  port_ = connect_to_zmq_hub(reactor, std::move(options), *this);
}

void ZmqJoiner::on_port_connected() {
  port_->send(boot::encode(join_));
  if (!parent_is_root_) return;
  const auto on_answer = std::move(on_answer_);
  on_answer({.port = std::move(port_)});
}

void ZmqJoiner::on_port_message(std::string_view message) {
  const auto joined = boot::decode_joined(message);
  const auto on_answer = std::move(on_answer_);
  port_.reset();
  if (!joined) return on_answer({.error = "the root's answer cannot be read"});
  on_answer({.joined = *joined});
}

void ZmqJoiner::on_port_end(LinkEnd, int, const std::string& detail) {
  const auto on_answer = std::move(on_answer_);
  // The port may own `detail`, and the call may destroy this object.
  const auto port = std::exchange(port_, nullptr);
  on_answer({.error = detail});
}

}  // namespace wireup::runtime
