// One exchange of business cards over very many hosts, with the real engines: each host has a ProcessGroup
// with the sessions of its ranks, and an Exchange, and each rank is a ClientSession. Only a few hosts are in
// memory at a time: a host's ranks put their cards for its fence, and put them again before they get those
// of all others after its release.
//
// WIREUP_TEST_LONG=1: 1,024 hosts with 64 ranks each, which takes minutes.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/client_session.h"
#include "engine/exchange.h"
#include "engine/process_group.h"

namespace wireup::engine {
namespace {

struct Shape {
  std::uint32_t hosts;
  std::uint32_t ranks;  // of each host
  std::uint32_t width;  // children of each host, at most

  std::uint32_t size() const { return hosts * ranks; }
};

bool is_long() {
  const char* value = std::getenv("WIREUP_TEST_LONG");
  return value != nullptr && std::string(value) == "1";
}

// Of the same length for all ranks.
std::string key_of(std::uint32_t rank) {
  std::string digits = std::to_string(rank);
  return "card-" + std::string(6 - digits.size(), '0') + digits;
}

std::string card_of(std::uint32_t rank) { return "address of " + key_of(rank); }

// Of one card in a fence or release: two lengths of four bytes, the key and the value.
std::size_t bytes_of_card() { return 8 + key_of(0).size() + card_of(0).size(); }

// The ranks of one host, and its PMI server. They have put their cards and are in the barrier.
class HostedRanks {
 public:
  HostedRanks(const Shape& shape, const Layout& layout, std::uint32_t host)
      : shape_(shape), first_(host * shape.ranks), group_(options(shape, layout, host)) {
    clients_.reserve(shape.ranks);
    for (std::uint32_t i = 0; i < shape.ranks; ++i) {
      ClientOptions client;
      client.rank = first_ + i;
      client.size = shape.size();
      client.window = kPipelineWindow;
      group_.open_channel(client.rank, client.rank);
      Client& added = clients_.emplace_back();
      added.session = std::make_unique<ClientSession>(client);
      added.session->start(added.effects);
      added.session->put(key_of(client.rank), card_of(client.rank), added.effects);
      added.session->barrier("", added.effects);
    }
    run();
  }

  // The host's fence.
  std::string take_keys() {
    REQUIRE(fence_.has_value());
    return std::move(fence_->keys);
  }

  void release(std::uint64_t number, std::string_view keys) {
    Effects effects;
    REQUIRE(group_.finish_fence(number, std::string(keys), effects) == "");
    carry_out(effects);
    run();
  }

  // Together the ranks of the host get the card of every rank of the job. Returns how many were right.
  std::uint32_t get_all() {
    for (std::uint32_t rank = 0; rank < shape_.size(); ++rank) {
      Client& client = clients_[rank % shape_.ranks];
      client.session->get(key_of(rank), client.effects);
      client.asked.push_back(rank);
      if (client.asked.size() == kPipelineWindow) run();
    }
    run();
    return right_;
  }

 private:
  struct Client {
    std::unique_ptr<ClientSession> session = {};
    ClientEffects effects = {};
    std::string received = {};
    std::vector<std::uint32_t> asked = {};  // whose cards, in order
    std::size_t answered = 0;
  };

  static ProcessGroupOptions options(const Shape& shape, const Layout& layout, std::uint32_t host) {
    ProcessGroupOptions options;
    options.kvsname = "kvs";
    options.layout = layout;
    options.elsewhere.assign(shape.size(), true);
    std::fill_n(options.elsewhere.begin() + host * shape.ranks, shape.ranks, false);
    return options;
  }

  void carry_out(Effects& effects) {
    for (Effect& effect : effects.list()) {
      if (const auto* send = as<Send>(effect)) {
        clients_[send->connection - first_].received += effects.bytes(*send);
      } else if (auto* fence = as<FenceQuery>(effect)) {
        REQUIRE_FALSE(fence_.has_value());
        fence_ = std::move(*fence);
      }
    }
  }

  // Until no client has anything to send.
  void run() {
    for (bool sent = true; sent;) {
      sent = false;
      for (std::uint32_t i = 0; i < shape_.ranks; ++i) {
        Client& client = clients_[i];
        if (client.effects.send.empty()) continue;
        sent = true;
        Effects effects;
        group_.receive(first_ + i, std::exchange(client.effects.send, {}), effects);
        carry_out(effects);
      }
      for (Client& client : clients_) {
        client.session->receive(std::exchange(client.received, {}), client.effects);
        check_answers(client);
      }
    }
  }

  void check_answers(Client& client) {
    for (const ClientEvent& event : std::exchange(client.effects.events, {})) {
      const auto* answer = std::get_if<Answer>(&event);
      // A REQUIRE for each of millions of answers would take longer than the answers.
      if (std::holds_alternative<Failed>(event)) FAIL("a client has failed");
      if (answer == nullptr || client.answered == client.asked.size()) continue;
      right_ += answer->rc == 0 && answer->value == card_of(client.asked[client.answered]) ? 1 : 0;
      if (++client.answered < client.asked.size()) continue;
      client.asked.clear();
      client.answered = 0;
    }
  }

  Shape shape_;
  std::uint32_t first_;
  ProcessGroup group_;
  std::vector<Client> clients_;
  std::optional<FenceQuery> fence_;
  std::uint32_t right_ = 0;
};

class Tree {
 public:
  explicit Tree(Shape shape)
      : shape_(shape), layout_(Layout::by_node(shape.size(), shape.ranks)), hosts_(shape.hosts) {
    for (std::uint32_t host = shape.hosts; host-- > 0;) {
      hosts_[host].below = 1;
      for (const std::uint32_t child : children_of(host)) hosts_[host].below += hosts_[child].below;
    }
  }

  void exchange() {
    fence(0);
    complete(0);
  }

  struct Host {
    std::optional<Exchange> exchange = {};
    std::uint32_t below = 0;  // hosts, itself among them
    std::uint32_t depth = 0;  // edges to the root
    // Of the edge to its parent.
    std::uint32_t fences = 0;
    std::uint32_t releases = 0;
    std::size_t bytes_up = 0;
    std::size_t bytes_down = 0;
    std::uint32_t right = 0;  // cards that its ranks got, and that were right
  };
  const std::vector<Host>& hosts() const { return hosts_; }

  std::vector<std::uint32_t> children_of(std::uint32_t host) const {
    std::vector<std::uint32_t> children;
    for (std::uint64_t i = 1; i <= shape_.width; ++i) {
      const std::uint64_t child = std::uint64_t{host} * shape_.width + i;
      if (child < shape_.hosts) children.push_back(static_cast<std::uint32_t>(child));
    }
    return children;
  }

 private:
  // The host, after the hosts below it.
  void fence(std::uint32_t number) {
    Host& host = hosts_[number];
    host.exchange.emplace(true, children_of(number), number != 0,
                          std::uint64_t{kDefaultSpace} * shape_.hosts);
    for (const std::uint32_t number_of_child : children_of(number)) {
      Host& child = hosts_[number_of_child];
      child.depth = host.depth + 1;
      fence(number_of_child);
      while (const auto up = child.exchange->take_up()) {
        ++child.fences;
        child.bytes_up += up->keys.size();
        REQUIRE(host.exchange->child_fence(number_of_child, up->number, up->keys, true) == "");
      }
    }
    REQUIRE(host.exchange->local_fence(0, HostedRanks(shape_, layout_, number).take_keys()) == "");
  }

  // The release has arrived at the host, or the host is the root.
  void complete(std::uint32_t number) {
    Host& host = hosts_[number];
    const auto local = host.exchange->take_local();
    REQUIRE(local.has_value());
    HostedRanks ranks(shape_, layout_, number);
    ranks.release(local->number, local->keys);
    host.right = ranks.get_all();
    for (const Exchange::Down& down : host.exchange->take_down()) {
      Host& child = hosts_[down.child];
      ++child.releases;
      child.bytes_down += down.keys.size();
      REQUIRE(child.exchange->parent_release(down.number, down.keys.text(), true) == "");
      complete(down.child);
    }
    host.exchange.reset();
  }

  Shape shape_;
  Layout layout_;
  std::vector<Host> hosts_;
};

}  // namespace

TEST_CASE("many hosts: every rank's card arrives at every host, once an edge") {
  const Shape shape = is_long() ? Shape{1024, 64, 32} : Shape{64, 16, 8};
  Tree tree(shape);
  tree.exchange();
  CHECK(tree.children_of(0).size() <= shape.width);
  const double depth = std::ceil(std::log(shape.hosts) / std::log(shape.width));
  for (std::uint32_t number = 0; number < shape.hosts; ++number) {
    CAPTURE(number);
    const Tree::Host& host = tree.hosts()[number];
    CHECK(host.right == shape.size());
    CHECK(host.depth <= depth);
    if (number == 0) continue;
    CHECK(host.fences == 1);
    CHECK(host.releases == 1);
    // Up the cards of the hosts below; down those of all others.
    CHECK(host.bytes_up == host.below * shape.ranks * bytes_of_card());
    CHECK(host.bytes_down == (shape.hosts - host.below) * shape.ranks * bytes_of_card());
  }
}

}  // namespace wireup::engine
