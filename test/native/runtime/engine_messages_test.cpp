#include "runtime/engine_messages.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace wireup::runtime {
namespace {

namespace agent = wire::agent;

constexpr std::uint32_t kSize = 4;

// The message as the other process decodes it.
template <typename T>
T sent(T message) {
  const auto decoded = agent::decode(agent::encode(agent::kOwnHost, std::move(message)));
  REQUIRE(decoded);
  return std::get<T>(*decoded);
}

agent::EventRecord sent(const engine::Event& event) {
  return sent(agent::Events{1, {to_message(event)}}).events.at(0);
}

engine::Event event_of(engine::EventType type, std::int32_t rank) {
  engine::Event event{.type = type};
  event.rank = rank;
  return event;
}

}  // namespace

TEST_CASE("engine messages: an event arrives as it was") {
  engine::Event event{.type = engine::EventType::disconnected,
                      .rank = 3,
                      .exit_code = -5,
                      .lost = true,
                      .again = true,
                      .in_barrier = true,
                      .barrier = std::uint64_t{1} << 40,
                      .version = 2,
                      .subversion = 1,
                      .message = "why"};
  event.peer = {.transport = wire::Transport::unix_socket,
                .uid = 0,
                .pid = 17,
                .address = "unix",
                .host = "192.0.2.7",
                .unknown = "no"};
  const auto arrived = from_message(sent(event), kSize);
  REQUIRE(arrived);
  CHECK(arrived->type == event.type);
  CHECK(arrived->rank == 3);
  CHECK(arrived->exit_code == -5);
  CHECK(arrived->lost);
  CHECK(arrived->again);
  CHECK(arrived->in_barrier);
  CHECK(arrived->barrier == event.barrier);
  CHECK(arrived->version == 2);
  CHECK(arrived->subversion == 1);
  CHECK(arrived->message == "why");
  CHECK(arrived->peer.transport == wire::Transport::unix_socket);
  CHECK(arrived->peer.uid == 0U);
  CHECK(arrived->peer.pid == 17);
  CHECK(arrived->peer.address == "unix");
  CHECK(arrived->peer.host == "192.0.2.7");
  CHECK(arrived->peer.unknown == "no");
}

TEST_CASE("engine messages: a peer without uid and pid has none after the way") {
  const auto arrived = from_message(sent(event_of(engine::EventType::rejected, -1)), kSize);
  REQUIRE(arrived);
  CHECK_FALSE(arrived->peer.uid);
  CHECK_FALSE(arrived->peer.pid);
}

TEST_CASE("engine messages: an event of no known type, rank, transport or uid is refused") {
  const auto refused = [](const auto& spoil) {
    agent::EventRecord record = to_message(event_of(engine::EventType::connected, 0));
    spoil(record);
    return !from_message(std::move(record), kSize);
  };
  CHECK_FALSE(refused([](agent::EventRecord&) {}));
  CHECK(refused([](agent::EventRecord& record) { record.type = engine::kEventTypes; }));
  CHECK(refused([](agent::EventRecord& record) { record.rank = kSize; }));
  CHECK(refused([](agent::EventRecord& record) { record.rank = -1; }));
  CHECK(refused([](agent::EventRecord& record) { record.rank = -2; }));
  CHECK(refused([](agent::EventRecord& record) { record.peer.transport = 3; }));
  CHECK(refused([](agent::EventRecord& record) { record.peer.uid = -2; }));
  CHECK(refused([](agent::EventRecord& record) { record.peer.uid = std::int64_t{1} << 32; }));
}

TEST_CASE("engine messages: a spawn and its answer") {
  engine::SpawnQuery query{.id = 9, .rank = 2, .spawn = {}};
  query.spawn.commands.push_back({"program", {"-x", ""}, 3, {{"wdir", "/tmp"}}});
  query.spawn.preput = {{"key", "value"}};
  const auto asked = from_message(sent(to_message(1, query)), kSize);
  REQUIRE(asked);
  CHECK(asked->id == 9);
  CHECK(asked->rank == 2);
  REQUIRE(asked->spawn.commands.size() == 1);
  CHECK(asked->spawn.commands[0].program == "program");
  CHECK(asked->spawn.commands[0].args == std::vector<std::string>{"-x", ""});
  CHECK(asked->spawn.commands[0].ranks == 3);
  CHECK(asked->spawn.commands[0].info == query.spawn.commands[0].info);
  CHECK(asked->spawn.preput == query.spawn.preput);
  CHECK_FALSE(from_message(to_message(1, query), 2));

  const engine::SpawnAnswer answer{.rc = -1, .message = "no", .kvsname = "kvs", .errcodes = {1, -1}};
  const auto message = sent(to_message(1, 9, answer));
  CHECK(message.group == 1);
  CHECK(message.query == 9);
  const engine::SpawnAnswer answered = from_message(message);
  CHECK(answered.rc == -1);
  CHECK(answered.message == "no");
  CHECK(answered.kvsname == "kvs");
  CHECK(answered.errcodes == answer.errcodes);
}

TEST_CASE("engine messages: a request about names and its answer") {
  const engine::NameQuery query{
      .id = 5,
      .rank = 1,
      .request = {.operation = engine::NameOperation::unpublish, .service = "ocean", .port = "p"}};
  const auto asked = from_message(sent(to_message(2, query)), kSize);
  REQUIRE(asked);
  CHECK(asked->id == 5);
  CHECK(asked->rank == 1);
  CHECK(asked->request.operation == engine::NameOperation::unpublish);
  CHECK(asked->request.service == "ocean");
  CHECK(asked->request.port == "p");
  CHECK_FALSE(from_message(to_message(2, query), 1));
  agent::NameQuery unknown = to_message(2, query);
  unknown.operation = 3;
  CHECK_FALSE(from_message(unknown, kSize));

  const auto message = sent(to_message(2, 5, engine::NameAnswer{engine::NameError::gone, "port"}));
  CHECK(message.query == 5);
  const auto answer = from_message(message);
  REQUIRE(answer);
  CHECK(answer->error == engine::NameError::gone);
  CHECK(answer->port == "port");
  CHECK_FALSE(from_message(agent::NameAnswer{.error = 5}));
}

TEST_CASE("engine messages: the part of one host in a status") {
  engine::ProcessGroupStatus status;
  status.ranks = {engine::RankState::initialized, engine::RankState::finalized};
  status.barrier = {.number = 7, .inside = {1}, .missing = {3}};
  status.group_barriers.push_back({.tag = -2, .inside = {1}, .missing = {3}});
  status.open_group_barriers = 100;
  status.kvs_entries = 3;
  status.rejected = 2;
  status.unidentified = 1;
  const auto part = from_message(sent(agent::StatusReply{1, {to_message(0, status)}}).groups.at(0), kSize);
  REQUIRE(part);
  CHECK(part->ranks == std::vector{engine::RankState::initialized, engine::RankState::finalized});
  CHECK(part->barrier.number == 7);
  CHECK(part->barrier.inside == std::vector<std::uint32_t>{1});
  CHECK(part->barrier.missing.empty());
  REQUIRE(part->group_barriers.size() == 1);
  CHECK(part->group_barriers[0].tag == -2);
  CHECK(part->group_barriers[0].missing == std::vector<std::uint32_t>{3});
  CHECK(part->open_group_barriers == 100);
  CHECK(part->kvs_entries == 3);
  CHECK(part->rejected == 2);
  CHECK(part->unidentified == 1);

  CHECK_FALSE(from_message(agent::GroupStatus{.ranks = {5}}, kSize));
  CHECK_FALSE(from_message(agent::GroupStatus{.inside = {kSize}}, kSize));
  CHECK_FALSE(from_message(agent::GroupStatus{.barrier_groups = {{0, {}, {kSize}}}}, kSize));
}

TEST_CASE("engine messages: a layout is sent in runs") {
  const engine::Layout layout = engine::Layout::of_apps({3, 2}, {0, 0, 1, 1, 0});
  const std::vector<agent::PlaceRun> runs = to_runs(layout);
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].count == 2);
  const engine::Layout arrived = to_layout(runs);
  REQUIRE(arrived.size() == 5);
  for (std::uint32_t rank = 0; rank < 5; ++rank) CHECK(arrived.place(rank) == layout.place(rank));
  CHECK_THROWS_AS(to_layout({}), std::invalid_argument);
  CHECK_THROWS_AS(to_layout({{1, 5, 0}}), std::invalid_argument);
  CHECK_THROWS_AS(to_layout({{0xffffffff, 0, 0}, {0xffffffff, 0, 0}}), std::invalid_argument);
}

TEST_CASE("engine messages: the options of a process group's server") {
  agent::Group group;
  group.kvsname = "kvs";
  group.layout = {{2, 0, 0}};
  group.universe_size = 8;
  group.offer_1_2 = true;
  group.strict = true;
  group.spawner = "parent";
  group.preput = {{"k", "v"}};
  group.allowed_uids = {{1, 5}};
  group.allowed_hosts = {"192.0.2.0/24"};
  group.handshake_timeout_ms = 1500;
  group.reconnect = true;
  group.descendants_only = true;
  const engine::ProcessGroupOptions options = to_process_group_options(sent(group));
  CHECK(options.kvsname == "kvs");
  CHECK(options.layout.size() == 2);
  CHECK(options.universe_size == 8U);
  CHECK(options.offer_1_2);
  CHECK(options.strict);
  CHECK(options.spawner == "parent");
  CHECK(options.preput == group.preput);
  REQUIRE(options.auth.allowed_uids.size() == 1);
  CHECK(options.auth.allowed_uids[0].first == 1);
  CHECK(options.auth.allowed_uids[0].last == 5);
  REQUIRE(options.auth.allowed_hosts.size() == 1);
  CHECK(options.auth.allowed_hosts[0].bits == 96 + 24);
  CHECK(options.auth.handshake_timeout == std::chrono::milliseconds(1500));
  CHECK(options.auth.reconnect);
  CHECK(options.auth.descendants_only);
  CHECK_FALSE(to_process_group_options({.layout = {{1, 0, 0}}}).universe_size);
  group.allowed_hosts = {"n3"};
  CHECK_THROWS_AS(to_process_group_options(group), std::invalid_argument);
}

TEST_CASE("engine messages: where a process group's server listens") {
  agent::Group group;
  group.address = "127.0.0.1:0";
  CHECK_FALSE(to_listen_options(group).address);
  group.pmi = agent::PmiMode::port;
  group.first_port = 5000;
  group.last_port = 5010;
  const ListenOptions tcp = to_listen_options(group);
  REQUIRE(tcp.address);
  CHECK(wire::to_uri(*tcp.address) == "tcp://127.0.0.1:0");
  REQUIRE(tcp.ports);
  CHECK(*tcp.ports == std::pair<std::uint16_t, std::uint16_t>(5000, 5010));
  const ListenOptions local =
      to_listen_options({.pmi = agent::PmiMode::port, .private_parents = {{"TMPDIR", "/tmp"}}});
  CHECK_FALSE(local.address);
  REQUIRE(local.private_parents.size() == 1);
  CHECK(local.private_parents[0].variable == "TMPDIR");
  CHECK(local.private_parents[0].path == "/tmp");
  group.last_port = 70'000;
  CHECK_THROWS_AS(to_listen_options(group), std::invalid_argument);
  group.last_port = 5010;
  group.address = "127.0.0.1";
  CHECK_THROWS_AS(to_listen_options(group), std::invalid_argument);
}

}  // namespace wireup::runtime
