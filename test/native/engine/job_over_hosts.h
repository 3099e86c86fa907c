// A job over several hosts in memory: on each host an Exchange and, if it has ranks, a ProcessGroup,
// connected to each other as a tree of agents, with the ranks' clients and a launcher. Host 0 is the root of
// the tree. The caller decides in which order bytes and messages arrive; each connection and each edge is
// FIFO. A host may be lost at any point, and invalid messages may come from any edge.
//
// In each round every rank puts keys, enters the barrier of all ranks, and gets all keys that were put before
// it. After the last round it finalizes. Ranks use PMI 1.1, PMI 1.2 and PMI-2 in turn. Those of PMI 1.2 also
// enter a barrier of their own in each round.
//
// What goes wrong is in errors(). What is checked:
// - After a completed barrier of all ranks each rank gets every key that was put before it.
// - A barrier completes only after the ranks of all hosts have entered it.
// - No valid message is refused, and an Exchange keeps no more bytes of an edge than its limit.
// Hosts from which the caller has sent its own messages (and those below) are exempt.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/client_session.h"
#include "engine/exchange.h"
#include "engine/process_group.h"

namespace wireup::test {

// The hosts of a job; a parent comes before its children.
struct HostPlan {
  std::uint32_t parent = 0;  // not used for host 0
  std::uint32_t ranks = 0;
};

struct JobPlan {
  std::vector<HostPlan> hosts;
  std::uint32_t rounds = 3;
  std::size_t part = std::size_t{64} << 10;  // the longest part of a fence or release, in bytes
  std::uint64_t limit = 1 << 20;             // of each Exchange
  // This rank finalizes after that many rounds.
  std::optional<std::uint32_t> quitter = {};
  std::uint32_t quits_after = 0;
};

class JobOverHosts {
 public:
  explicit JobOverHosts(JobPlan plan)
      : plan_(std::move(plan)), layout_(layout_of(plan_)), barriers_(layout_) {
    for (std::uint32_t number = 0; number < plan_.hosts.size(); ++number) hosts_.push_back(make_host(number));
    for (std::uint32_t rank = 0; rank < layout_.size(); ++rank) ranks_.push_back(make_rank(rank));
  }
  JobOverHosts(const JobOverHosts&) = delete;
  JobOverHosts& operator=(const JobOverHosts&) = delete;

  // Chooses one of a number of queues.
  using Pick = std::function<std::size_t(std::size_t)>;
  // Delivers the next message or bytes of a queue. Returns false if nothing is left to deliver.
  bool deliver(const Pick& pick) {
    const std::vector<Queue> list = queues();
    if (list.empty()) return false;
    const Queue queue = list[pick(list.size())];
    switch (queue.kind) {
      case Queue::Kind::to_server:
        receive_at_server(queue.number);
        break;
      case Queue::Kind::to_client:
        receive_at_client(queue.number);
        break;
      case Queue::Kind::up:
        receive_from_child(queue.number);
        break;
      case Queue::Kind::down:
        receive_from_parent(queue.number);
        break;
    }
    return true;
  }
  // Delivers until nothing is left.
  void finish(const Pick& pick) {
    while (deliver(pick)) continue;
  }

  // The host and all below it are lost. What they have sent and is not delivered is lost too.
  void lose(std::uint32_t number) {
    if (hosts_[number].lost) return;
    Message report{Message::Kind::lost};
    for (std::uint32_t other = 0; other < hosts_.size(); ++other) {
      if (!is_below(other, number)) continue;
      hosts_[other].lost = true;
      hosts_[other].up.clear();
      hosts_[other].down.clear();
      for (std::uint32_t rank = 0; rank < layout_.size(); ++rank) {
        if (host_of(rank) == other) report.ranks.push_back(rank);
      }
    }
    if (number != 0) hosts_[plan_.hosts[number].parent].up.push_back(std::move(report));
  }

  // A message of the caller behind those that wait on the edge between the host and its parent, upward or
  // downward.
  void inject(std::uint32_t number, bool upward, std::uint64_t barrier, std::string keys, bool last) {
    if (number == 0 || hosts_[number].lost) return;
    for (std::uint32_t other = 0; other < hosts_.size(); ++other) {
      if (is_below(other, number)) hosts_[other].exempt = true;
    }
    Message message{upward ? Message::Kind::fence : Message::Kind::release};
    message.number = barrier;
    message.keys = std::move(keys);
    message.last = last;
    (upward ? hosts_[number].up : hosts_[number].down).push_back(std::move(message));
  }

  // The number of the current barrier in the host's exchange.
  std::uint64_t barrier(std::uint32_t host) const {
    return hosts_[host].exchange ? hosts_[host].exchange->number() : 0;
  }

  const std::vector<std::string>& errors() const { return errors_; }
  std::uint32_t size() const { return layout_.size(); }
  std::uint32_t host_of(std::uint32_t rank) const { return host_of_rank_[rank]; }
  bool is_lost(std::uint32_t host) const { return hosts_[host].lost; }
  bool is_exempt(std::uint32_t host) const { return hosts_[host].exempt; }
  // Every request of the rank has been answered.
  bool is_done(std::uint32_t rank) const { return ranks_[rank].script.empty(); }
  // Null if the host has no ranks.
  const engine::ProcessGroup* group(std::uint32_t host) const { return hosts_[host].group.get(); }
  std::size_t stuck(std::uint32_t host) const { return hosts_[host].stuck; }
  std::size_t failed_group_barriers() const { return failed_group_barriers_; }
  std::size_t group_barriers() const { return group_barriers_; }
  // Messages on the edge between the host and its parent, by barrier.
  using Counts = std::map<std::uint64_t, std::size_t>;
  const Counts& fences(std::uint32_t host) const { return hosts_[host].fences; }
  const Counts& releases(std::uint32_t host) const { return hosts_[host].releases; }

 private:
  struct Message {
    // Upward: fence, query, left, lost. Downward: release, answer, depart.
    enum class Kind : std::uint8_t { fence, release, query, left, lost, answer, depart } kind;
    std::uint32_t host = 0;                 // from or for which it is, if it does not end at the edge
    std::uint64_t number = 0;               // of a barrier or query
    std::string keys = {};                  // or the barrier group of a query
    bool last = false;                      // or: the barrier of an answer is complete
    std::uint32_t rank = 0;                 // or a member that is gone
    std::vector<std::uint32_t> ranks = {};  // of `lost`
  };

  struct Host {
    std::unique_ptr<engine::ProcessGroup> group;  // null: it has no ranks
    std::optional<engine::Exchange> exchange;     // empty: no ranks are on it or below it
    std::deque<Message> up;                       // to its parent; from host 0 to the launcher
    std::deque<Message> down;                     // from there
    bool lost = false;
    bool exempt = false;
    std::uint64_t fenced = 0;  // in how many barriers all its ranks have been
    std::size_t stuck = 0;     // events
    Counts fences = {};
    Counts releases = {};
    // Bytes that were accepted from the child at the other end of `up` and from the parent, for one barrier.
    std::array<std::pair<std::uint64_t, std::size_t>, 2> accepted = {};
  };

  // What the answer to a request must be.
  struct Expected {
    enum class Kind : std::uint8_t { other, group_barrier, get } kind = Kind::other;
    std::uint32_t owner = 0;  // get: the rank that has put the key
    std::string key = {};     // get
    std::uint32_t least = 0;  // get: the value, a number, is at least this
  };

  struct Rank {
    std::unique_ptr<engine::ClientSession> client;
    engine::ClientEffects effects;
    std::string to_client;
    std::deque<Expected> script;
  };

  struct Queue {
    enum class Kind : std::uint8_t { to_server, to_client, up, down } kind;
    std::uint32_t number;  // of the rank or host
  };

  static engine::Layout layout_of(const JobPlan& plan) {
    std::vector<engine::Place> places;
    std::uint32_t node = 0;
    for (const HostPlan& host : plan.hosts) {
      places.resize(places.size() + host.ranks, engine::Place{node, 0});
      if (host.ranks > 0) ++node;
    }
    return engine::Layout(std::move(places));
  }

  bool is_below(std::uint32_t host, std::uint32_t ancestor) const {
    while (host != ancestor && host != 0) host = plan_.hosts[host].parent;
    return host == ancestor;
  }
  std::uint32_t ranks_below(std::uint32_t host) const {
    std::uint32_t sum = 0;
    for (std::uint32_t other = 0; other < plan_.hosts.size(); ++other) {
      if (is_below(other, host)) sum += plan_.hosts[other].ranks;
    }
    return sum;
  }

  Host make_host(std::uint32_t number) {
    Host host;
    const std::uint32_t own = plan_.hosts[number].ranks;
    const auto first = static_cast<std::uint32_t>(host_of_rank_.size());
    host_of_rank_.resize(first + own, number);
    if (const std::uint32_t below = ranks_below(number); below > 0) {
      std::vector<engine::Exchange::Child> children;
      for (std::uint32_t child = 1; child < plan_.hosts.size(); ++child) {
        if (plan_.hosts[child].parent == number && ranks_below(child) > 0) children.push_back(child);
      }
      host.exchange.emplace(own > 0, children, below < layout_.size(), plan_.limit);
    }
    if (own == 0) return host;
    engine::ProcessGroupOptions options;
    options.kvsname = "kvs";
    options.layout = layout_;
    options.elsewhere.assign(layout_.size(), true);
    std::fill_n(options.elsewhere.begin() + first, own, false);
    host.group = std::make_unique<engine::ProcessGroup>(std::move(options));
    return host;
  }

  Rank make_rank(std::uint32_t number) {
    Rank rank;
    engine::ClientOptions options;
    options.rank = number;
    options.size = layout_.size();
    if (number % 2 == 1) options.window = engine::kPipelineWindow;
    if (number % 3 == 1) options.subversion = 2;
    if (number % 3 == 2) options.version = wire::Version::v2;
    rank.client = std::make_unique<engine::ClientSession>(options);
    hosts_[host_of(number)].group->open_channel(number, number);
    rank.client->start(rank.effects);
    write_script(number, rank);
    return rank;
  }

  // In the last of every three rounds no rank puts a key, so that round's barrier carries none. `replaced`:
  // the key of a rank that gets a new value in every round with puts, twice.
  static bool has_puts(std::uint32_t round) { return round % 3 != 2; }
  static std::string replaced(std::uint32_t rank) { return "last-" + std::to_string(rank); }
  static std::string key_of(std::uint32_t rank, std::uint32_t round) {
    return "card-" + std::to_string(rank) + "-" + std::to_string(round);
  }

  void write_script(std::uint32_t number, Rank& rank) {
    engine::ClientSession& client = *rank.client;
    const std::uint32_t rounds = plan_.quitter == number ? plan_.quits_after : plan_.rounds;
    std::string members;
    for (std::uint32_t other = 1; other < layout_.size(); other += 3)
      members += (members.empty() ? "" : ",") + std::to_string(other);
    std::uint32_t last = 0;
    for (std::uint32_t round = 0; round < rounds; ++round) {
      const std::string value = std::to_string(round);
      if (has_puts(round)) {
        last = round;
        client.put(key_of(number, round), value, rank.effects);
        client.put(replaced(number), "", rank.effects);
        client.put(replaced(number), value, rank.effects);
        rank.script.resize(rank.script.size() + 3);
      }
      client.barrier("", rank.effects);
      rank.script.emplace_back();
      const auto get = [&](std::uint32_t owner, const std::string& key) {
        client.get(key, rank.effects);
        rank.script.push_back({Expected::Kind::get, owner, key, last});
      };
      for (std::uint32_t other = 0; other < layout_.size(); ++other) get(other, key_of(other, last));
      const std::uint32_t next = (number + round + 1) % layout_.size();
      get(next, replaced(next));
      if (number % 3 != 1) continue;
      client.barrier(members + ":" + value, rank.effects);
      rank.script.push_back({Expected::Kind::group_barrier});
    }
    client.finalize(rank.effects);
    rank.script.emplace_back();
  }

  std::vector<Queue> queues() const {
    std::vector<Queue> list;
    for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
      if (hosts_[host_of(rank)].lost) continue;
      if (!ranks_[rank].effects.send.empty()) list.push_back({Queue::Kind::to_server, rank});
      if (!ranks_[rank].to_client.empty()) list.push_back({Queue::Kind::to_client, rank});
    }
    for (std::uint32_t host = 0; host < hosts_.size(); ++host) {
      if (!hosts_[host].up.empty()) list.push_back({Queue::Kind::up, host});
      if (!hosts_[host].down.empty()) list.push_back({Queue::Kind::down, host});
    }
    return list;
  }

  void require(bool holds, std::string what) {
    if (!holds) errors_.push_back(std::move(what));
  }

  // Ranks and their servers

  void receive_at_server(std::uint32_t number) {
    Host& host = hosts_[host_of(number)];
    engine::Effects effects;
    host.group->receive(number, std::exchange(ranks_[number].effects.send, {}), effects);
    carry_out(host_of(number), effects);
  }

  void receive_at_client(std::uint32_t number) {
    Rank& rank = ranks_[number];
    rank.client->receive(std::exchange(rank.to_client, {}), rank.effects);
    for (const engine::ClientEvent& event : std::exchange(rank.effects.events, {})) {
      if (const auto* answer = std::get_if<engine::Answer>(&event)) on_answer(number, *answer);
      require(!std::holds_alternative<engine::Failed>(event), "a client has failed");
    }
  }

  void on_answer(std::uint32_t number, const engine::Answer& answer) {
    const Expected expected = std::move(ranks_[number].script.front());
    ranks_[number].script.pop_front();
    switch (expected.kind) {
      case Expected::Kind::other:
        return require(answer.rc == 0, "a request has failed: " + answer.message);
      case Expected::Kind::group_barrier:
        ++(answer.rc == 0 ? group_barriers_ : failed_group_barriers_);
        return;
      case Expected::Kind::get:
        break;
    }
    if (hosts_[host_of(number)].exempt || hosts_[host_of(expected.owner)].exempt) return;
    // A rank that has left the barrier before may have put the next value.
    const bool found = answer.rc == 0 && (answer.value.empty() || std::stoul(answer.value) >= expected.least);
    require(found, "rank " + std::to_string(number) + " got '" + answer.value + "' for " + expected.key +
                       " after " + std::to_string(expected.least));
  }

  // `effects` of the host's process group.
  void carry_out(std::uint32_t number, engine::Effects& effects) {
    Host& host = hosts_[number];
    for (engine::Effect& effect : effects.list()) {
      if (const auto* send = engine::as<engine::Send>(effect)) {
        ranks_[send->connection].to_client += effects.bytes(*send);
      } else if (const auto* event = engine::as<engine::Event>(effect)) {
        on_event(number, *event);
      } else if (auto* fence = engine::as<engine::FenceQuery>(effect)) {
        require(fence->number == host.fenced, "a barrier out of order");
        ++host.fenced;
        const std::string error = host.exchange->local_fence(fence->number, std::move(fence->keys));
        require(error.empty(), "the exchange of a host refuses its own fence: " + error);
        take_outputs(number);
      } else if (auto* query = engine::as<engine::BarrierQuery>(effect)) {
        Message message{Message::Kind::query, number, query->id, std::move(query->group)};
        message.rank = query->rank;
        host.up.push_back(std::move(message));
      } else {
        require(false, "an unexpected effect");
      }
    }
  }

  void on_event(std::uint32_t number, const engine::Event& event) {
    Host& host = hosts_[number];
    switch (event.type) {
      case engine::EventType::barrier:
        // If all ranks are on this host, there is no fence.
        if (host.group->options().elsewhere.empty()) break;
        for (const Host& other : hosts_) {
          require(
              host.exempt || other.exempt || other.group == nullptr || other.fenced > event.barrier,
              "barrier " + std::to_string(event.barrier) + " has completed before all hosts have entered it");
        }
        break;
      case engine::EventType::finalized: {
        Message message{Message::Kind::left, number};
        message.rank = static_cast<std::uint32_t>(event.rank);
        host.up.push_back(std::move(message));
        break;
      }
      case engine::EventType::stuck:
        ++host.stuck;
        break;
      case engine::EventType::protocol_error:
        require(false, "a protocol error: " + event.message);
        break;
      default:
        break;
    }
  }

  // Exchanges

  void take_outputs(std::uint32_t number) {
    Host& host = hosts_[number];
    if (auto up = host.exchange->take_up()) {
      ++host.fences[up->number];
      std::string_view rest = up->keys;
      do {
        Message message{Message::Kind::fence, 0, up->number,
                        std::string(engine::take_part(rest, plan_.part))};
        message.last = rest.empty();
        host.up.push_back(std::move(message));
      } while (!rest.empty());
    }
    for (const engine::Exchange::Down& down : host.exchange->take_down()) {
      Host& child = hosts_[down.child];
      if (child.lost) continue;
      ++child.releases[down.number];
      engine::OtherParts parts(down.keys);
      do {
        Message message{Message::Kind::release, 0, down.number, parts.next(plan_.part)};
        message.last = parts.done();
        child.down.push_back(std::move(message));
      } while (!parts.done());
    }
    if (const auto local = host.exchange->take_local()) {
      engine::Effects effects;
      const std::string error = host.group->finish_fence(local->number, local->keys, effects);
      require(error.empty(), "a process group refuses a release: " + error);
      carry_out(number, effects);
    }
  }

  void receive_from_child(std::uint32_t number) {
    Message message = take_front(hosts_[number].up);
    if (number == 0) return at_launcher(std::move(message));
    const std::uint32_t parent = plan_.hosts[number].parent;
    if (message.kind != Message::Kind::fence) return hosts_[parent].up.push_back(std::move(message));
    auto& exchange = hosts_[parent].exchange;
    const std::string error =
        exchange ? exchange->child_fence(number, message.number, message.keys, message.last) : "no ranks";
    accepted(number, parent, 0, message, error);
  }

  void receive_from_parent(std::uint32_t number) {
    Message message = take_front(hosts_[number].down);
    if (message.kind != Message::Kind::release) return pass_down(number, std::move(message));
    auto& exchange = hosts_[number].exchange;
    const std::string error =
        exchange ? exchange->parent_release(message.number, message.keys, message.last) : "no ranks";
    accepted(number, number, 1, message, error);
  }

  // A fence or release of the edge between the host and its parent was accepted, or not: then the edge is
  // dropped.
  void accepted(std::uint32_t number, std::uint32_t receiver, std::size_t direction, const Message& message,
                const std::string& error) {
    if (!error.empty()) {
      // Keys of an exempt host, passed on by others, may exceed the limit together with theirs.
      const bool too_much = error.starts_with("more than") && std::ranges::any_of(hosts_, &Host::exempt);
      require(hosts_[number].exempt || too_much, "a valid message was refused: " + error);
      return lose(number);
    }
    auto& [barrier, bytes] = hosts_[number].accepted[direction];
    if (barrier != message.number) bytes = 0;
    barrier = message.number;
    bytes += message.keys.size();
    require(bytes <= plan_.limit, "an exchange keeps more than its limit");
    take_outputs(receiver);
  }

  static Message take_front(std::deque<Message>& queue) {
    Message message = std::move(queue.front());
    queue.pop_front();
    return message;
  }

  // Messages between hosts and the launcher

  void pass_down(std::uint32_t number, Message message) {
    if (message.host != number) {
      std::uint32_t next = message.host;
      while (plan_.hosts[next].parent != number) next = plan_.hosts[next].parent;
      if (!hosts_[next].lost) hosts_[next].down.push_back(std::move(message));
      return;
    }
    Host& host = hosts_[number];
    if (host.group == nullptr) return;
    engine::Effects effects;
    if (message.kind == Message::Kind::answer) {
      host.group->answer_barrier(message.number, message.last, message.rank, effects);
    } else {
      host.group->depart(message.rank, effects);
    }
    carry_out(number, effects);
  }

  void at_launcher(Message message) {
    switch (message.kind) {
      case Message::Kind::query: {
        const auto result =
            barriers_.enter(message.rank, *wire::parse_barrier_group(message.keys), message.number);
        for (const auto& member : result.released) answer(member, true, 0);
        require(result.entry == engine::GroupBarriers::Entry::waiting ||
                    result.entry == engine::GroupBarriers::Entry::complete ||
                    result.entry == engine::GroupBarriers::Entry::failed,
                "an invalid query about a barrier");
        if (result.entry == engine::GroupBarriers::Entry::failed)
          answer({message.rank, message.number}, false, result.gone);
        return;
      }
      case Message::Kind::left:
        return left(message.rank);
      case Message::Kind::lost:
        for (const std::uint32_t rank : message.ranks) left(rank);
        return;
      default:
        return;
    }
  }

  void left(std::uint32_t rank) {
    barriers_.leave(rank);
    for (const auto& [member, tag] : barriers_.depart(rank)) answer(member, false, rank);
    for (std::uint32_t host = 0; host < hosts_.size(); ++host) {
      if (host == host_of(rank)) continue;
      Message message{Message::Kind::depart, host};
      message.rank = rank;
      send_down(std::move(message));
    }
  }

  void answer(const engine::GroupBarriers::Member& member, bool complete, std::uint32_t gone) {
    Message message{Message::Kind::answer, host_of(member.rank), member.query};
    message.last = complete;
    message.rank = gone;
    send_down(std::move(message));
  }

  void send_down(Message message) {
    if (!hosts_[0].lost) hosts_[0].down.push_back(std::move(message));
  }

  JobPlan plan_;
  engine::Layout layout_;
  engine::GroupBarriers barriers_;  // the launcher's
  std::vector<std::uint32_t> host_of_rank_;
  std::vector<Host> hosts_;
  std::vector<Rank> ranks_;
  std::size_t group_barriers_ = 0;
  std::size_t failed_group_barriers_ = 0;
  std::vector<std::string> errors_;
};

}  // namespace wireup::test
