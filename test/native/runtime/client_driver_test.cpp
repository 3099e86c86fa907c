#include "runtime/client_driver.h"

#include <doctest/doctest.h>

#include <memory>
#include <variant>
#include <vector>

#include "os/listener.h"
#include "os/socket_address.h"
#include "os/support.h"
#include "runtime/addresses.h"

namespace wireup::runtime {

using namespace os::test;

namespace {

struct Sink final : NoticeSink {
  void notify(Handle, Payload payload, std::uint32_t = 0, When = {}) override {
    payloads.push_back(std::move(payload));
  }
  void tell(Handle, const engine::Event&, std::uint32_t = 0, When = {}) override {}
  std::vector<Payload> payloads;
};

}  // namespace

TEST_CASE("client driver: it ends once if it is closed while its connection is being refused") {
  os::Reactor reactor;
  auto listener = std::make_unique<os::Listener>(reactor, *os::SocketAddress::numeric("127.0.0.1", 0),
                                                 [](os::UniqueFd) {});
  Sink sink;
  int ends = 0;
  ConnectOptions options;
  options.address = to_wire_address(listener->address());
  listener.reset();
  options.session.pmi_id = "1";
  std::unique_ptr<ClientDriver> client;
  client = std::make_unique<ClientDriver>(reactor, options, 1, sink, [&] {
    ++ends;
    reactor.post([&] { client.reset(); });
  });
  // The refusal has arrived, and the reactor serves fds before posted functions.
  client->close();
  run_until(reactor, [&] { return client == nullptr; });
  CHECK(ends == 1);
  REQUIRE(sink.payloads.size() == 1);
  CHECK(std::holds_alternative<Closed>(sink.payloads[0]));
}

}  // namespace wireup::runtime
