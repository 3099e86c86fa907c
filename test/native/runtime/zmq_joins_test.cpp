// A tree of hosts that one boot record starts.
#include "runtime/zmq_joins.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/link_support.h"

namespace wireup::runtime {

using namespace os::test;
using namespace wireup::test;

namespace boot = wire::boot;

namespace {

constexpr ZmqTiming kQuick{.ping_ms = 50, .pong_ms = 2000, .handshake_ms = 2000};

// One host of the tree, with the links to its children by their host numbers.
struct Node {
  os::ZmqKeys keys;
  std::unique_ptr<ZmqHub> hub;
  KeepingObserver end;
  std::map<std::uint32_t, KeepingObserver> child_ends;
  std::map<std::uint32_t, std::unique_ptr<ZmqLink>> children;
  std::unique_ptr<ZmqJoiner> joiner;
  std::unique_ptr<ZmqLink> parent;
};

struct Tree {
  Tree(bool is_secure, std::uint32_t width, std::vector<std::uint32_t> hosts) : secure(is_secure) {
    Node& root = nodes[0];
    if (secure) root.keys = os::make_zmq_keys();
    root.hub =
        std::make_unique<ZmqHub>(reactor, ZmqHubOptions{{"127.0.0.1", "127.0.0.2"}, root.keys, kQuick});
    boot::Record plan{.width = width, .hosts = std::move(hosts)};
    for (const std::uint32_t host : plan.hosts) plan.names.push_back("n" + std::to_string(host));
    joins = std::make_unique<ZmqJoins>(*root.hub, root.keys, std::move(plan),
                                       [this](const boot::Join& join) { place(join); });
  }
  ~Tree() {
    for (auto& [host, node] : nodes) {
      node.joiner.reset();
      node.parent.reset();
      node.children.clear();
    }
    joins.reset();
  }

  // What a host does with its stdin.
  void start(std::uint32_t host) {
    const boot::Record& record = joins->record();
    Node& node = nodes[host];
    node.keys = os::make_zmq_keys();
    const os::ZmqKeys hub_keys = secure ? node.keys : os::ZmqKeys{};
    std::vector<std::string> endpoints;
    if (boot::has_children(position(host), record.width, record.hosts.size())) {
      node.hub = std::make_unique<ZmqHub>(reactor, ZmqHubOptions{{"127.0.0.1"}, hub_keys, kQuick});
      endpoints = node.hub->endpoints();
    }
    node.joiner = std::make_unique<ZmqJoiner>(
        reactor, record, host, node.keys, endpoints, kQuick, [this, &node](ZmqJoiner::Answer answer) {
          CHECK(answer.error.empty());
          if (answer.port) {
            node.parent = link_to_zmq_parent(reactor, std::move(answer.port), kQuick.link, nullptr, node.end);
            return;
          }
          ZmqParentOptions options{answer.joined.endpoints, answer.joined.parent_key, {}, {}, kQuick};
          if (secure) {
            options.keys = node.keys;
          } else {
            options.password = node.keys.public_key;
          }
          node.parent = connect_to_zmq_parent(reactor, std::move(options), nullptr, node.end);
        });
  }

  std::size_t position(std::uint32_t host) const {
    const auto& hosts = joins->record().hosts;
    return static_cast<std::size_t>(std::ranges::find(hosts, host) - hosts.begin()) + 1;
  }

  // The root: adopts the connection of its child, or makes the parent expect the host as soon as the parent
  // has joined.
  void place(const boot::Join& join) {
    joined.emplace(join.host, join);
    for (const auto& [host, each] : joined) {
      const std::size_t above = boot::parent_of(position(host), joins->record().width);
      const std::uint32_t parent = above == 0 ? 0 : joins->record().hosts[above - 1];
      Node& node = nodes[parent];
      if (node.children.contains(host) || (parent != 0 && !joined.contains(parent))) continue;
      if (parent == 0) {
        node.children[host] = node.hub->adopt(host, joins->peer(host), nullptr, node.child_ends[host]);
      } else {
        node.children[host] = node.hub->expect(host, each.key, nullptr, node.child_ends[host]);
        joins->answer(host, {parent, secure ? node.keys.public_key : "", node.hub->endpoints()});
      }
    }
  }

  bool secure;
  os::Reactor reactor;
  std::map<std::uint32_t, Node> nodes;
  std::map<std::uint32_t, boot::Join> joined;
  std::unique_ptr<ZmqJoins> joins;
};

// What a process does that has read the record.
struct Replay {
  Replay(Tree& tree, const boot::Record& record, std::uint32_t host)
      : joiner(tree.reactor, record, host, os::make_zmq_keys(), {}, kQuick,
               [this, &tree](ZmqJoiner::Answer answer) {
                 if (!answer.port) return;
                 link = link_to_zmq_parent(tree.reactor, std::move(answer.port), kQuick.link, nullptr, end);
               }) {}
  bool is_up() const { return link && link->up(); }
  KeepingObserver end;
  std::unique_ptr<ZmqLink> link;
  ZmqJoiner joiner;
};

}  // namespace

TEST_CASE("zmq joins: hosts that get one record become a tree, in any order of their starts") {
  bool secure = true;
  std::uint32_t width = 2;
  SUBCASE("a binary tree") {}
  SUBCASE("a chain") { width = 1; }
  SUBCASE("flat") { width = 32; }
  SUBCASE("insecure links") { secure = false; }
  Tree tree(secure, width, {5, 1, 2, 3, 4, 6});
  // Each of the last hosts waits for its parent.
  for (const std::uint32_t host : {6, 4, 3, 2, 1, 5}) tree.start(host);
  run_until(tree.reactor, [&] {
    return std::ranges::all_of(tree.nodes, [](const auto& node) {
      return node.first == 0 || (node.second.parent && node.second.parent->up());
    });
  });
  CHECK(tree.joins->missing().empty());
  CHECK(tree.nodes[0].hub->refused() == 0);
  std::size_t links = 0;
  for (auto& [host, node] : tree.nodes) {
    CHECK(node.children.size() <= width);
    links += node.children.size();
    for (auto& [child, link] : node.children) link->send("from " + std::to_string(host));
  }
  CHECK(links == 6);
  run_until(tree.reactor, [&] {
    return std::ranges::all_of(
        tree.nodes, [](const auto& node) { return node.first == 0 || !node.second.end.packets.empty(); });
  });
  for (auto& [host, node] : tree.nodes) {
    if (host == 0) continue;
    const std::size_t above = boot::parent_of(tree.position(host), width);
    const std::uint32_t parent = above == 0 ? 0 : tree.joins->record().hosts[above - 1];
    CHECK(node.end.packets == std::vector<std::string>{"from " + std::to_string(parent)});
  }
}

TEST_CASE("zmq joins: a replayed record is refused and counted, and harms no host") {
  Tree tree(true, 2, {1, 2});
  tree.start(1);
  run_until(tree.reactor, [&] { return tree.nodes[1].parent && tree.nodes[1].parent->up(); });
  boot::Record record = tree.joins->record();
  std::uint32_t host = 1;
  SUBCASE("for a host that has joined") {}
  SUBCASE("for a host that is not in the record") { host = 3; }
  SUBCASE("for another job") {
    host = 2;
    record.job = std::string(boot::kJobIdSize, 'x');
  }
  Replay replay(tree, record, host);
  run_until(tree.reactor, [&] { return tree.nodes[0].hub->refused() >= 1; });
  CHECK_FALSE(replay.is_up());
  CHECK(tree.joins->missing() == std::vector<std::uint32_t>{2});

  tree.start(2);
  run_until(tree.reactor, [&] { return tree.nodes[2].parent && tree.nodes[2].parent->up(); });
  CHECK_FALSE(tree.nodes[1].end.end.has_value());
}

TEST_CASE("zmq joins: no peer gets in by the record when all hosts have joined") {
  Tree tree(true, 2, {1});
  tree.start(1);
  run_until(tree.reactor, [&] { return tree.nodes[1].parent && tree.nodes[1].parent->up(); });
  const Replay replay(tree, tree.joins->record(), 1);
  run_until(tree.reactor, [&] { return tree.nodes[0].hub->refused() >= 1; });
  CHECK_FALSE(replay.is_up());
  CHECK_FALSE(tree.nodes[1].end.end.has_value());
}

TEST_CASE("zmq joins: the end of a connection that was adopted ends its link, at either side") {
  Tree tree(true, 2, {1, 2});
  tree.start(1);
  tree.start(2);
  Node& root = tree.nodes[0];
  const auto is_up = [&](std::uint32_t host) {
    return tree.nodes[host].parent && tree.nodes[host].parent->up();
  };
  run_until(tree.reactor, [&] { return is_up(1) && is_up(2); });
  SUBCASE("the child's") {
    tree.nodes[1].parent.reset();
    run_until(tree.reactor, [&] { return root.child_ends[1].end.has_value(); });
    CHECK_FALSE(root.child_ends[2].end.has_value());
  }
  SUBCASE("the parent's") {
    root.children.erase(1);
    run_until(tree.reactor, [&] { return tree.nodes[1].end.end.has_value(); });
    CHECK_FALSE(tree.nodes[2].end.end.has_value());
  }
}

TEST_CASE("zmq joins: a host that ends right after its join is lost") {
  Tree tree(true, 2, {1, 2});
  tree.start(1);
  run_until(tree.reactor, [&] { return tree.nodes[0].children.contains(1); });
  tree.nodes[1].joiner.reset();
  tree.nodes[1].parent.reset();
  run_until(tree.reactor, [&] { return tree.nodes[0].child_ends[1].end.has_value(); });
}

TEST_CASE("zmq joins: each start has its own record") {
  Tree one(true, 2, {1});
  Tree two(true, 2, {1});
  CHECK(one.joins->record().job != two.joins->record().job);
  CHECK(one.joins->record().join_key != two.joins->record().join_key);
  CHECK(one.joins->record().endpoints.size() == 2);
  CHECK(boot::decode_record(boot::encode(one.joins->record())).has_value());
}

}  // namespace wireup::runtime
