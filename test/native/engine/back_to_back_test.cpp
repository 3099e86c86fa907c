// A ClientSession and a ProcessGroup, connected to each other in memory.
#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/client_events.h"
#include "engine/client_session.h"
#include "engine/process_group.h"

namespace wireup::engine {
namespace {

// A process group and its clients in memory.
class World {
 public:
  World(std::uint32_t size, bool port, std::size_t window = 1)
      : group_(options(size)), clients_(size), seen_(size) {
    for (std::uint32_t rank = 0; rank < size; ++rank) {
      ClientOptions client;
      client.window = window;
      if (port) {
        client.pmi_id = std::to_string(1000 + rank);
        group_.accept(rank, {.transport = Transport::tcp, .uid = 1000, .pid = {}, .address = {}}, {},
                      effects_);
      } else {
        client.rank = rank;
        client.size = size;
        group_.open_channel(rank, rank);
      }
      clients_[rank] = std::make_unique<ClientSession>(client);
    }
  }

  ClientSession& client(std::uint32_t rank) { return *clients_[rank]; }
  ClientEffects& effects(std::uint32_t rank) { return seen_[rank]; }
  ProcessGroup& group() { return group_; }

  // Delivers bytes until no side sends any more.
  void settle() {
    bool moved = true;
    while (moved) {
      moved = false;
      for (std::uint32_t rank = 0; rank < clients_.size(); ++rank) {
        const std::string bytes = std::exchange(seen_[rank].send, {});
        if (bytes.empty()) continue;
        moved = true;
        group_.receive(rank, bytes, effects_);
      }
      for (const Effect& effect : effects_.list()) {
        if (const auto* send = as<Send>(effect)) {
          clients_[send->connection]->receive(effects_.bytes(*send), seen_[send->connection]);
          moved = true;
        } else if (const auto* close = as<Close>(effect)) {
          clients_[close->connection]->eof(seen_[close->connection]);
        } else if (const auto* event = as<Event>(effect)) {
          protocol_errors += event->type == EventType::protocol_error ? 1 : 0;
        }
      }
      effects_.clear();
    }
  }

  int protocol_errors = 0;

 private:
  static ProcessGroupOptions options(std::uint32_t size) {
    ProcessGroupOptions options;
    options.kvsname = "kvs";
    options.layout = Layout::single_node(size);
    for (std::uint32_t rank = 0; rank < size; ++rank) options.auth.pmi_ids.push_back(1000 + rank);
    options.auth.allowed_uids = {1000};
    return options;
  }

  ProcessGroup group_;
  Effects effects_;
  std::vector<std::unique_ptr<ClientSession>> clients_;
  std::vector<ClientEffects> seen_;
};

TEST_CASE("back to back: an exchange of business cards") {
  for (const bool port : {false, true}) {
    for (const std::uint32_t size : {1U, 2U, 16U}) {
      CAPTURE(port);
      CAPTURE(size);
      World world(size, port, size == 2 ? 1 : kPipelineWindow);
      for (std::uint32_t rank = 0; rank < size; ++rank) {
        ClientSession& client = world.client(rank);
        ClientEffects& effects = world.effects(rank);
        client.put("card-" + std::to_string(rank), "of " + std::to_string(rank), effects);
        client.barrier({}, effects);
        for (std::uint32_t other = 0; other < size; ++other)
          client.get("card-" + std::to_string(other), effects);
        client.finalize(effects);
        client.start(effects);
      }
      world.settle();
      CHECK(world.protocol_errors == 0);
      for (std::uint32_t rank = 0; rank < size; ++rank) {
        REQUIRE(all<Ready>(world.effects(rank)).size() == 1);
        CHECK(all<Ready>(world.effects(rank))[0].info.rank == rank);
        CHECK(all<Ready>(world.effects(rank))[0].info.size == size);
        const std::vector<Answer> answers = all<Answer>(world.effects(rank));
        REQUIRE(answers.size() == size + 3);
        for (std::uint32_t other = 0; other < size; ++other) {
          CHECK(answers[2 + other].value == "of " + std::to_string(other));
        }
        CHECK(world.group().rank_state(rank) == RankState::finalized);
      }
      CHECK(world.group().status().barrier.number == 1);
    }
  }
}

TEST_CASE("back to back: a refused client reports the reason `refused`") {
  World world(1, true);
  ClientSession client({.pmi_id = "5"});
  ClientEffects effects;
  client.start(effects);
  Effects server;
  world.group().receive(0, effects.send, server);
  client.eof(effects);
  REQUIRE(all<Failed>(effects).size() == 1);
  CHECK(all<Failed>(effects)[0].reason == Failed::Reason::refused);
}

}  // namespace
}  // namespace wireup::engine
