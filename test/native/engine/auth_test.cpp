#include "engine/auth.h"

#include <doctest/doctest.h>

#include <stdexcept>

#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

using std::chrono::milliseconds;

AuthPolicy policy() {
  AuthPolicy policy;
  policy.allowed_uids = {1000};
  policy.pmi_ids = {11, 22};
  policy.handshake_timeout = milliseconds(100);
  return policy;
}

Peer local(std::optional<std::uint32_t> uid) {
  return {.transport = Transport::unix_socket, .uid = uid, .pid = {}, .address = "unix"};
}

Peer remote(std::string host) {
  return {.transport = Transport::tcp, .uid = {}, .pid = {}, .address = host + ":4000", .host = host};
}

std::string refusal(Authenticator& auth, ConnectionId connection, const Peer& peer, TimePoint now = kStart) {
  return auth.admit(connection, peer, now).refusal.value_or("");
}

TEST_CASE("auth: a uid is refused before a byte is read") {
  AuthPolicy ranges = policy();
  ranges.allowed_uids = {1000, {100'000, 165'535}};
  Authenticator auth(ranges, 2);
  struct Row {
    std::uint32_t uid;
    bool allowed;
  };
  // Root is not special. 65534 is the uid that the kernel reports for an unmapped one.
  const Row rows[] = {{1000, true},    {1001, false},   {0, false},      {65534, false},
                      {99'999, false}, {100'000, true}, {165'535, true}, {165'536, false}};
  ConnectionId connection = 0;
  for (const Row& row : rows) {
    CAPTURE(row.uid);
    CHECK(refusal(auth, ++connection, local(row.uid)) ==
          (row.allowed ? "" : "uid " + std::to_string(row.uid) + " is not allowed"));
  }
}

TEST_CASE("auth: root is accepted if it is allowed") {
  AuthPolicy with_root = policy();
  with_root.allowed_uids = {1000, 0};
  Authenticator auth(with_root, 2);
  CHECK(refusal(auth, 1, local(0)) == "");
}

TEST_CASE("auth: a local peer without a uid is refused with the reason") {
  Authenticator auth(policy(), 2);
  CHECK(refusal(auth, 1, local(std::nullopt)) == "its uid is unknown");
  Peer peer = local(std::nullopt);
  peer.unknown = "no sock_diag";
  CHECK(refusal(auth, 1, peer) == "no sock_diag");
  CHECK(auth.unidentified() == 0);
}

TEST_CASE("auth: another machine is refused unless it is allowed") {
  AuthPolicy hosts = policy();
  hosts.allowed_hosts = {*wire::parse_host_range("192.0.2.0/24").range,
                         *wire::parse_host_range("2001:db8::1").range};
  Authenticator auth(hosts, 2);
  CHECK(refusal(auth, 1, remote("192.0.2.200")) == "");
  CHECK(refusal(auth, 2, remote("::ffff:192.0.2.200")) == "");
  CHECK(refusal(auth, 3, remote("2001:db8::1")) == "");
  CHECK(refusal(auth, 4, remote("198.51.100.1")) == "host 198.51.100.1 is not allowed");
  CHECK(refusal(auth, 4, remote("2001:db8::2")) == "host 2001:db8::2 is not allowed");
  CHECK(refusal(auth, 4, remote("nonsense")) == "host nonsense is not allowed");
}

TEST_CASE("auth: a PMI_ID identifies its rank") {
  Authenticator auth(policy(), 2);
  for (const char* wrong : {"", "x", "0", "33", "-11", "+11", "011", "11x", " 11", "0x0b", "99999999999"}) {
    CAPTURE(wrong);
    CHECK_FALSE(auth.identify(1, wrong, local(1000)).rank);
    CHECK(auth.identify(1, wrong, local(1000)).refusal == "pmiid is not the PMI_ID of a rank");
  }
  CHECK(auth.identify(1, "22", local(1000)).rank == 1U);
  CHECK(auth.identify(2, "11", local(1000)).rank == 0U);
}

TEST_CASE("auth: a PMI_ID of 128 bits") {
  AuthPolicy words = policy();
  words.pmi_ids = {std::string("00112233445566778899aabbccddeeff"), std::string("ff")};
  Authenticator auth(words, 2);
  CHECK_FALSE(auth.identify(1, "00112233445566778899AABBCCDDEEFF", local(1000)).rank);
  CHECK_FALSE(auth.identify(1, "00112233445566778899aabbccddeef", local(1000)).rank);
  CHECK(auth.identify(1, "00112233445566778899aabbccddeeff", local(1000)).rank == 0U);
}

TEST_CASE("auth: a rank has one connection, and init uses up its PMI_ID") {
  Authenticator auth(policy(), 2);
  CHECK(auth.identify(1, "11", local(1000)).rank == 0U);
  CHECK(auth.identify(2, "11", local(1000)).refusal == "rank 0 has a connection already");
  auth.leave(0);
  CHECK(auth.identify(3, "11", local(1000)).rank == 0U);
  auth.spend(0);
  CHECK_FALSE(auth.identify(4, "11", local(1000)).rank);
  auth.leave(0);
  CHECK(auth.identify(5, "11", local(1000)).refusal == "the PMI_ID of rank 0 has been used");
}

TEST_CASE("auth: under reconnect a PMI_ID is accepted again after its connection has ended, until finalize") {
  AuthPolicy again = policy();
  again.reconnect = true;
  Authenticator auth(again, 2);
  CHECK(auth.identify(1, "11", local(1000)).rank == 0U);
  auth.spend(0);
  CHECK(auth.identify(2, "11", local(1000)).refusal == "rank 0 has a connection already");
  auth.leave(0);
  CHECK(auth.identify(3, "11", local(1000)).rank == 0U);
  auth.retire(0);
  auth.leave(0);
  CHECK(auth.identify(4, "11", local(1000)).refusal == "rank 0 has finalized");
}

TEST_CASE("auth: a rank with a channel has a connection") {
  Authenticator auth(policy(), 2);
  CHECK(auth.take(0));
  CHECK_FALSE(auth.take(0));
  CHECK_FALSE(auth.identify(1, "11", local(1000)).rank);
  auth.leave(0);
  CHECK(auth.take(0));
}

TEST_CASE("auth: a valid initack or the end of the connection removes the deadline") {
  Authenticator auth(policy(), 2);
  CHECK_FALSE(auth.deadline());
  auth.admit(1, local(1000), kStart);
  auth.admit(2, local(1000), kStart + milliseconds(10));
  auth.admit(3, local(1000), kStart + milliseconds(20));
  CHECK(auth.deadline() == kStart + milliseconds(100));
  auth.identify(1, "11", local(1000));
  CHECK(auth.deadline() == kStart + milliseconds(110));
  auth.forget(2);
  CHECK(auth.deadline() == kStart + milliseconds(120));
  CHECK_FALSE(auth.expire(kStart + milliseconds(119)));
  const auto expired = auth.expire(kStart + milliseconds(120));
  REQUIRE(expired);
  CHECK(expired->connection == 3U);
  CHECK_FALSE(expired->held);
  CHECK_FALSE(auth.expire(kStart + milliseconds(120)));
  CHECK_FALSE(auth.deadline());
  CHECK(auth.unidentified() == 0);
}

TEST_CASE("auth: a wrong PMI_ID delays the end of its own connection only, each one longer") {
  AuthPolicy two = policy();
  two.allowed_uids = {1000, 1001};
  two.handshake_timeout = milliseconds(60'000);
  Authenticator auth(two, 2);
  // Milliseconds from accept to close, for consecutive wrong PMI_IDs.
  const int delays[] = {0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
  ConnectionId connection = 0;
  for (const int delay : delays) {
    CAPTURE(delay);
    auth.admit(++connection, local(1001), kStart);
    const auto identity = auth.identify(connection, "33", local(1001));
    CHECK_FALSE(identity.rank);
    CHECK(identity.hold == (delay > 0));
    if (delay == 0) continue;
    CHECK(auth.deadline() == kStart + milliseconds(delay));
    const auto expired = auth.expire(kStart + milliseconds(delay));
    REQUIRE(expired);
    CHECK(expired->connection == connection);
    CHECK(expired->held);
  }
  // A right PMI_ID is not delayed, and another uid starts without a delay.
  auth.admit(90, local(1001), kStart);
  CHECK(auth.identify(90, "11", local(1001)).rank == 0U);
  auth.admit(91, local(1000), kStart);
  CHECK_FALSE(auth.identify(91, "33", local(1000)).hold);
}

TEST_CASE("auth: a host is locked out after a few wrong PMI_IDs, a uid is not") {
  AuthPolicy hosts = policy();
  hosts.allowed_hosts = {*wire::parse_host_range("192.0.2.0/24").range};
  Authenticator auth(hosts, 2);
  const Peer guesser = remote("192.0.2.1");
  CHECK(refusal(auth, 50, guesser) == "");
  for (ConnectionId connection = 1; connection <= kHostMisses; ++connection) {
    CHECK(refusal(auth, connection, guesser) == "");
    auth.identify(connection, "33", guesser);
  }
  const std::string locked = "host 192.0.2.1 is locked out after 5 wrong PMI_IDs";
  CHECK(refusal(auth, 60, guesser) == locked);
  // A connection that was accepted before is refused too.
  CHECK(auth.identify(50, "11", guesser).refusal == locked);
  CHECK(refusal(auth, 61, remote("192.0.2.2")) == "");
  CHECK(auth.identify(61, "11", remote("192.0.2.2")).rank == 0U);

  for (ConnectionId connection = 70; connection < 80; ++connection) {
    CHECK(refusal(auth, connection, local(1000)) == "");
    auth.identify(connection, "33", local(1000));
  }
  CHECK(refusal(auth, 80, local(1000)) == "");
}

TEST_CASE("auth: a new connection replaces the oldest of a full source, if that is old enough") {
  AuthPolicy few = policy();
  few.allowed_uids = {1000, 1001};
  few.slots = 2;
  few.eviction_age = milliseconds(50);
  Authenticator auth(few, 2);
  auth.admit(1, local(1000), kStart);
  auth.admit(2, local(1000), kStart + milliseconds(10));
  // The oldest one is too young. The new one may be a rank, so it waits.
  CHECK(auth.busy_until(local(1000), kStart + milliseconds(49)) == kStart + milliseconds(50));
  CHECK_THROWS_AS(auth.admit(3, local(1000), kStart + milliseconds(49)), std::logic_error);
  CHECK_FALSE(auth.busy_until(local(1002), kStart + milliseconds(49)));  // not allowed, so it need not wait
  // Another source has slots of its own.
  CHECK(refusal(auth, 4, local(1001), kStart + milliseconds(49)) == "");
  CHECK_FALSE(auth.busy_until(local(1000), kStart + milliseconds(50)));
  const auto admission = auth.admit(3, local(1000), kStart + milliseconds(50));
  CHECK_FALSE(admission.refusal);
  CHECK(admission.evicted == 1U);
  // An identified connection takes no slot.
  CHECK(auth.identify(3, "11", local(1000)).rank == 0U);
  CHECK_FALSE(auth.admit(5, local(1000), kStart + milliseconds(50)).evicted);
  CHECK(auth.unidentified() == 3);
}

TEST_CASE("auth: with a single slot each new connection replaces the previous one") {
  AuthPolicy one = policy();
  one.slots = 1;
  one.eviction_age = milliseconds(0);
  Authenticator auth(one, 1 + 1);
  auth.take(0);
  auth.take(1);
  auth.admit(1, local(1000), kStart);
  CHECK(auth.admit(2, local(1000), kStart).evicted == 1U);
  CHECK(auth.admit(3, local(1000), kStart).evicted == 2U);
  CHECK(auth.unidentified() == 1);
}

TEST_CASE("auth: there is a slot for every rank that is still expected") {
  AuthPolicy few = policy();
  few.slots = 1;
  few.total_slots = 1;
  few.pmi_ids = {1, 2, 3, 4};
  Authenticator auth(few, 4);
  for (ConnectionId connection = 1; connection <= 4; ++connection) {
    CHECK(refusal(auth, connection, local(1000)) == "");
  }
  CHECK(auth.busy_until(local(1000), kStart));
  // A rank with a connection is not expected. A rank whose connection has ended before init is.
  CHECK(auth.identify(1, "1", local(1000)).rank == 0U);
  CHECK(auth.busy_until(local(1000), kStart));
  auth.leave(0);
  CHECK(refusal(auth, 5, local(1000)) == "");
}

TEST_CASE("auth: if all slots are taken, the source with the most connections loses one") {
  AuthPolicy few = policy();
  few.allowed_uids = {1000, 1001};
  few.total_slots = 4;
  few.eviction_age = milliseconds(50);
  Authenticator auth(few, 2);
  auth.admit(9, local(1001), kStart);
  for (ConnectionId connection = 1; connection <= 3; ++connection)
    auth.admit(connection, local(1000), kStart);
  const auto admission = auth.admit(4, local(1001), kStart + milliseconds(50));
  CHECK_FALSE(admission.refusal);
  CHECK(admission.evicted == 1U);
}

TEST_CASE("auth: descendants_only accepts the rank's process and its descendants") {
  AuthPolicy strict = policy();
  strict.descendants_only = true;
  Authenticator auth(strict, 2);
  const auto of = [](std::vector<std::int32_t> lineage) {
    Peer peer = local(1000);
    peer.lineage = std::move(lineage);
    return peer;
  };
  auth.started_by(40);
  auth.runs_as(0, 50);
  CHECK(auth.identify(1, "11", of({70, 1})).refusal ==
        "pid 70 is neither rank 0's process (pid 50) nor a descendant of it");
  // The process of another rank.
  CHECK_FALSE(auth.identify(1, "11", of({51, 40, 1})).rank);
  CHECK(auth.identify(1, "11", of({70, 60, 50, 40, 1})).rank == 0U);
  auth.leave(0);
  CHECK(auth.identify(1, "11", of({50, 40, 1})).rank == 0U);
  // Rank 1's process is unknown, but the process that starts it is known.
  CHECK(auth.identify(2, "22", of({70, 1})).refusal == "pid 70 was not started by the agent (pid 40)");
  CHECK(auth.identify(2, "22", of({51, 40, 1})).rank == 1U);
  auth.leave(1);
  // The kernel reports no ancestors, so the PMI_ID decides.
  CHECK(auth.identify(3, "22", of({})).rank == 1U);
}

TEST_CASE("auth: invalid policies are refused") {
  AuthPolicy twice = policy();
  twice.pmi_ids = {1, 1};
  CHECK_THROWS_AS(Authenticator(twice, 2), std::invalid_argument);
  AuthPolicy more = policy();
  more.pmi_ids = {1, 2, 3};
  CHECK_THROWS_AS(Authenticator(more, 2), std::invalid_argument);
}

}  // namespace
}  // namespace wireup::engine
