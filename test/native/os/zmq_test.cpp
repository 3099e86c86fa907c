#include <doctest/doctest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "os/support.h"
#include "os/zmq_library.h"
#include "os/zmq_socket.h"

namespace wireup::os {

using namespace os::test;

TEST_CASE("zmq: a missing library is one line that names the package") {
  std::string message;
  try {
    ZmqLibrary::open("libzmq-of-a-test.so.5");
  } catch (const ZmqMissing& error) {
    message = error.what();
  }
  CHECK(message.find("install libzmq5") != std::string::npos);
  CHECK(message.find("libzmq-of-a-test.so.5") != std::string::npos);
  CHECK(message.find('\n') == std::string::npos);
}

TEST_CASE("zmq: another library under its name is refused") {
  CHECK_THROWS_WITH_AS(ZmqLibrary::open("libc.so.6"),
                       "libzmq is too old (it has no zmq_errno): install libzmq 4.2 or later", ZmqMissing);
}

TEST_CASE("zmq: key pairs are Z85 and differ") {
  const ZmqKeys one = make_zmq_keys();
  const ZmqKeys two = make_zmq_keys();
  CHECK(one.public_key.size() == 40);
  CHECK(one.secret_key.size() == 40);
  CHECK(one.public_key != two.public_key);
  CHECK(one.secret_key != two.secret_key);
}

TEST_CASE("zmq: every message of a burst arrives, although ZMQ_FD is edge-triggered") {
  Reactor reactor;
  const auto context = std::make_shared<ZmqContext>();
  std::vector<std::string> received;
  std::vector<std::string> echoed;
  std::unique_ptr<ZmqSocket> router;
  router = std::make_unique<ZmqSocket>(reactor, context, kZmqRouter, [&](ZmqMessage& message) {
    REQUIRE(message.size() == 2);
    received.push_back(message[1].bytes);
    CHECK(message[1].fd >= 0);
    CHECK(router->send({message[0].bytes, message[1].bytes}) == 0);
  });
  router->set(kZmqReceiveHwm, 0);
  router->set(kZmqSendHwm, 0);
  router->bind("tcp://127.0.0.1:*");
  ZmqSocket dealer(reactor, context, kZmqDealer,
                   [&](ZmqMessage& message) { echoed.push_back(message.at(0).bytes); });
  dealer.set(kZmqReceiveHwm, 0);
  dealer.set(kZmqSendHwm, 0);
  dealer.connect(router->last_endpoint());
  constexpr std::size_t kMessages = 5000;
  std::vector<std::string> sent;
  for (std::size_t i = 0; i < kMessages; ++i) {
    sent.push_back(std::to_string(i));
    REQUIRE(dealer.send({sent.back()}) == 0);
  }
  run_until(reactor, [&] { return echoed.size() == kMessages; });
  CHECK(received == sent);
  CHECK(echoed == sent);
}

TEST_CASE("zmq: a socket may be destroyed by its own message") {
  Reactor reactor;
  const auto context = std::make_shared<ZmqContext>();
  std::unique_ptr<ZmqSocket> receiver;
  receiver =
      std::make_unique<ZmqSocket>(reactor, context, kZmqDealer, [&](ZmqMessage&) { receiver.reset(); });
  receiver->bind("tcp://127.0.0.1:*");
  ZmqSocket sender(reactor, context, kZmqDealer, [](ZmqMessage&) {});
  sender.connect(receiver->last_endpoint());
  CHECK(sender.send({"one"}) == 0);
  CHECK(sender.send({"two"}) == 0);
  run_until(reactor, [&] { return receiver == nullptr; });
}

TEST_CASE("zmq: errors name the call and the endpoint, but no option's value") {
  Reactor reactor;
  ZmqSocket socket(reactor, std::make_shared<ZmqContext>(), kZmqDealer, [](ZmqMessage&) {});
  CHECK_THROWS_WITH_AS(socket.bind("tcp://nowhere"), "zmq_bind tcp://nowhere: Invalid argument", OsError);
  CHECK_THROWS_WITH_AS(socket.set(kZmqCurveSecretKey, "secret"), "zmq_setsockopt 49: Invalid argument",
                       OsError);
}

}  // namespace wireup::os
