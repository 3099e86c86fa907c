// A name server and its clients on one reactor, and peers that do not follow the protocol.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/limits.h"
#include "os/fd.h"
#include "os/socket_address.h"
#include "os/support.h"
#include "runtime/blocking.h"
#include "runtime/name_client.h"
#include "runtime/name_server.h"

namespace wireup::runtime {

using namespace os::test;
using engine::NameAnswer;
using engine::NameError;
using engine::NameOperation;
using namespace wire::names;

namespace {

constexpr std::chrono::milliseconds kShort{50};

struct World {
  explicit World(std::chrono::milliseconds timeout = kNameHello) {
    listen.address = address;
    serve(timeout);
  }

  void serve(std::chrono::milliseconds timeout = kNameHello) {
    server = std::make_unique<NameServer>(
        reactor, listen, [this](engine::Peer, std::string reason) { refusals.push_back(std::move(reason)); },
        timeout);
  }

  std::unique_ptr<NameClient> client(std::string kvsname) {
    auto client = std::make_unique<NameClient>(reactor, address, std::move(kvsname));
    bool open = false;
    client->open([&](std::optional<Error> fault) {
      CHECK_FALSE(fault.has_value());
      open = true;
    });
    run_until(reactor, [&] { return open; });
    return client;
  }

  NameAnswer ask(NameClient& client, engine::NameRequest request) {
    std::optional<NameAnswer> answer;
    client.ask(std::move(request), [&](const NameAnswer& reply) { answer = reply; });
    run_until(reactor, [&] { return answer.has_value(); });
    return *answer;
  }

  os::UniqueFd connect() { return os::connect_start(os::SocketAddress::unix_path(address.path)); }

  // What the server replies to these bytes until it closes the connection.
  std::string talk(std::string_view bytes) {
    const os::UniqueFd socket = connect();
    wireup::test::write_all(socket.get(), bytes);
    std::string received;
    bool ended = false;
    run_until(reactor, [&] {
      char buffer[4096];
      const ssize_t size = ::recv(socket.get(), buffer, sizeof buffer, MSG_DONTWAIT);
      if (size > 0) received.append(buffer, static_cast<std::size_t>(size));
      ended = size == 0 || (size < 0 && errno == ECONNRESET);
      return ended;
    });
    return received;
  }

  os::Reactor reactor;
  TemporaryFolder folder;
  wire::UnixAddress address{folder / "names", false};
  ListenOptions listen;
  std::vector<std::string> refusals;
  std::unique_ptr<NameServer> server;
};

}  // namespace

TEST_CASE("names: another launch finds a published name, and only its publisher can unpublish it") {
  World world;
  const auto first = world.client("kvs_a");
  const auto second = world.client("kvs_b");
  CHECK(world.ask(*second, {NameOperation::lookup, "ocean"}).error == NameError::not_found);
  CHECK(world.ask(*first, {NameOperation::publish, "ocean", "tag#0$"}).error == NameError::none);
  CHECK(world.ask(*second, {NameOperation::publish, "ocean", "other"}).error == NameError::taken);
  CHECK(world.ask(*first, {NameOperation::publish, "ocean", "other"}).error == NameError::taken);
  CHECK(world.ask(*second, {NameOperation::lookup, "ocean"}).port == "tag#0$");
  CHECK(world.ask(*second, {NameOperation::unpublish, "ocean"}).error == NameError::not_found);
  CHECK(world.ask(*first, {NameOperation::unpublish, "ocean"}).error == NameError::none);
  CHECK(world.ask(*second, {NameOperation::lookup, "ocean"}).error == NameError::not_found);
  CHECK(world.refusals.empty());
}

TEST_CASE("names: they are removed when the connection of their publisher ends") {
  World world;
  auto first = world.client("kvs_a");
  const auto second = world.client("kvs_b");
  CHECK(world.ask(*first, {NameOperation::publish, "ocean", "a"}).error == NameError::none);
  CHECK(world.ask(*second, {NameOperation::publish, "river", "b"}).error == NameError::none);
  first.reset();
  run_until(world.reactor, [&] { return world.server->names().entries().size() == 1; });
  CHECK(world.ask(*second, {NameOperation::lookup, "ocean"}).error == NameError::not_found);
  CHECK(world.ask(*second, {NameOperation::lookup, "river"}).port == "b");
}

TEST_CASE("names: thousands of queries at once are answered in their order") {
  World world;
  const auto client = world.client("kvs");
  const std::string port(wire::kMaxValue - 1, 'p');
  std::vector<std::size_t> answered;
  constexpr std::size_t kCount = 5000;
  for (std::size_t i = 0; i < kCount; ++i) {
    client->ask({NameOperation::publish, "name-" + std::to_string(i), port},
                [&, i](const NameAnswer& answer) {
                  CHECK(answer.error == NameError::none);
                  answered.push_back(i);
                });
  }
  run_until(world.reactor, [&] { return answered.size() == kCount; });
  CHECK(std::ranges::is_sorted(answered));
  CHECK(world.refusals.empty());
}

TEST_CASE("names: they are listed page by page") {
  World world;
  const auto first = world.client("kvs_a");
  const auto second = world.client("");
  std::size_t published = 0;
  for (std::size_t i = 0; i < 2 * kPageRows; ++i) {
    first->ask({NameOperation::publish, "name-" + std::to_string(100 + i), "p"},
               [&](const NameAnswer&) { ++published; });
  }
  run_until(world.reactor, [&] { return published == 2 * kPageRows; });
  std::vector<Page> pages;
  std::function<void(const Page*)> next = [&](const Page* page) {
    REQUIRE(page != nullptr);
    pages.push_back(*page);
    if (!page->last) second->list(page->rows.back().service, next);
  };
  second->list("", next);
  run_until(world.reactor, [&] { return !pages.empty() && pages.back().last; });
  REQUIRE(pages.size() == 2);
  CHECK(pages[0].rows.size() == kPageRows);
  CHECK(pages[1].rows.size() == kPageRows);
  CHECK(pages[0].rows[0].service == "name-100");
  CHECK(pages[0].rows[0].kvsname == "kvs_a");
  CHECK(pages[0].rows[0].pid == ::getpid());
  CHECK(pages[1].rows.back().service == "name-" + std::to_string(99 + 2 * kPageRows));
}

TEST_CASE("names: when the connection is lost, waiting and later queries are answered") {
  World world;
  auto client = std::make_unique<NameClient>(world.reactor, world.address, "kvs");
  bool open = false;
  int losses = 0;
  client->open([&](std::optional<Error>) { open = true; }, [&] { ++losses; });
  run_until(world.reactor, [&] { return open; });
  std::vector<NameError> faults;
  for (int i = 0; i < 100; ++i) {
    client->ask({NameOperation::lookup, "s"},
                [&](const NameAnswer& answer) { faults.push_back(answer.error); });
  }
  world.server.reset();
  run_until(world.reactor, [&] { return faults.size() == 100; });
  CHECK(faults.back() == NameError::gone);
  CHECK(losses == 1);
  // Also if another server has the address now: the published names are gone.
  world.serve();
  CHECK(world.ask(*client, {NameOperation::lookup, "s"}).error == NameError::gone);
  bool lost = false;
  client->list("", [&](const Page* page) { lost = page == nullptr; });
  CHECK(lost);
}

TEST_CASE(
    "names: the server closes the connection of a client that sends a malformed message, and no other") {
  World world;
  const auto client = world.client("kvs");
  CHECK(world.ask(*client, {NameOperation::publish, "ocean", "a"}).error == NameError::none);
  const std::string hello = encode(Hello{.kvsname = "k"});
  const std::string welcome = encode(Welcome{});
  CHECK(world.talk("cmd=init pmi_version=1 pmi_subversion=1\n") == "");
  CHECK(world.talk(encode(Ask{{NameOperation::lookup, "ocean"}})) == "");
  CHECK(world.talk(hello + hello) == welcome);
  CHECK(world.talk(hello + encode(Reply{})) == welcome);
  CHECK(world.talk(hello + encode(Ask{{NameOperation::publish, std::string(wire::kMaxValue, 'n'), "p"}})) ==
        welcome);
  CHECK(world.talk(hello + encode(Ask{{NameOperation::publish, std::string(10'000, 'n'), "p"}})) == welcome);
  CHECK(world.talk(hello + encode(Ask{{NameOperation::publish, "n", "p\ncmd=abort"}})) == welcome);
  CHECK(world.talk(hello + "  5000" + std::string(5000, 'x')) == welcome);
  CHECK(world.refusals.size() == 8);
  // A client of another version gets our version.
  CHECK(world.talk(encode(Hello{.version = 77})) == welcome);
  CHECK(world.refusals.size() == 8);
  CHECK(world.ask(*client, {NameOperation::lookup, "ocean"}).port == "a");
  CHECK(world.server->names().entries().size() == 1);
}

TEST_CASE("names: the server closes the connection of a client that sends nothing or reads nothing") {
  World world(kShort);
  const auto client = world.client("kvs");
  const std::string port(wire::kMaxValue - 1, 'p');
  CHECK(world.ask(*client, {NameOperation::publish, "ocean", port}).error == NameError::none);
  const os::UniqueFd silent = world.connect();
  run_until(world.reactor, [&] { return world.refusals.size() == 1; });
  CHECK(world.refusals[0] == "it sent no request within 50 ms");

  const os::UniqueFd deaf = world.connect();
  std::string flood = encode(Hello{});
  const std::string ask = encode(Ask{{NameOperation::lookup, "ocean"}});
  while (flood.size() < (1 << 17)) flood += ask;
  bool ended = false;
  run_until(world.reactor, [&] {
    // A cut message would be malformed. The server must close the connection before it reads that far.
    const ssize_t size = ::send(deaf.get(), flood.data(), flood.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size > 0) flood.erase(0, static_cast<std::size_t>(size));
    while (flood.size() < (1 << 17)) flood += ask;
    ended = size < 0 && (errno == EPIPE || errno == ECONNRESET);
    return ended;
  });
  CHECK(world.ask(*client, {NameOperation::lookup, "ocean"}).port == port);
}

TEST_CASE("names: a client reports that the server is not a name server") {
  os::Reactor reactor;
  TemporaryFolder folder;
  const wire::UnixAddress address{folder / "names", false};
  std::optional<Error> fault;
  const auto open = [&](NameClient& client) {
    fault.reset();
    client.open([&](std::optional<Error> why) { fault = std::move(why); });
    run_until(reactor, [&] { return fault.has_value(); });
    CHECK(fault->code == "ERR_PMI_NAME_SERVER");
    return fault->message.substr(fault->message.find(": ") + 2);
  };
  {
    NameClient client(reactor, address, "kvs");
    CHECK(open(client) == "No such file or directory: start one there with `wireup names serve --address " +
                              wire::to_uri(address) + "`");
    CHECK(fault->error == ENOENT);
  }
  struct Case {
    std::string says;
    std::string reason;
  };
  std::vector<Case> cases{
      {"", "no answer within 50 ms"},
      {"hello\n", "the server there is not a name server"},
      {encode(Page{}), "the server there is not a name server"},
      {encode(Welcome{.version = 7}),
       "the name server belongs to another version of wireup: its protocol version is 7, ours is 1"}};
  for (const Case& row : cases) {
    std::vector<os::UniqueFd> sockets;
    const os::Listener listener(reactor, os::SocketAddress::unix_path(address.path),
                                [&](os::UniqueFd socket) {
                                  if (!row.says.empty()) wireup::test::write_all(socket.get(), row.says);
                                  sockets.push_back(std::move(socket));
                                });
    NameClient client(reactor, address, "kvs", kShort);
    CHECK(open(client) == row.reason);
  }
}

TEST_CASE("names: a server that does not answer in time is given up") {
  os::Reactor reactor;
  TemporaryFolder folder;
  const wire::UnixAddress address{folder / "names", false};
  std::vector<os::UniqueFd> sockets;
  const os::Listener listener(reactor, os::SocketAddress::unix_path(address.path), [&](os::UniqueFd socket) {
    wireup::test::write_all(socket.get(), encode(Welcome{}));
    sockets.push_back(std::move(socket));
  });
  NameClient client(reactor, address, "kvs", kShort);
  bool open = false;
  client.open([&](std::optional<Error> fault) { open = !fault; });
  run_until(reactor, [&] { return open; });
  std::optional<NameAnswer> answer;
  client.ask({NameOperation::lookup, "s"}, [&](const NameAnswer& reply) { answer = reply; });
  run_until(reactor, [&] { return answer.has_value(); });
  CHECK(answer->error == NameError::gone);
}

TEST_CASE("names: a server cannot take the address of one that runs, but of one that was killed") {
  World world;
  const auto again = thrown_by([&] { NameServer(world.reactor, world.listen, nullptr); });
  CHECK(again == std::pair(EADDRINUSE, std::string("bind")));
  world.server.reset();
  CHECK_FALSE(std::filesystem::exists(world.address.path));
  {
    // A socket file as a killed server leaves it.
    const os::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
    const auto there = os::SocketAddress::unix_path(world.address.path);
    REQUIRE(::bind(socket.get(), there.raw(), there.size()) == 0);
  }
  world.serve();
  const auto client = world.client("kvs");
  CHECK(world.ask(*client, {NameOperation::publish, "ocean", "a"}).error == NameError::none);
}

}  // namespace wireup::runtime
