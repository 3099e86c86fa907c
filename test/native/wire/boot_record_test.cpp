#include "wire/boot_record.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace wireup::wire::boot {
namespace {

const std::string kJob(kJobIdSize, 'j');
const std::string kKey(40, 'k');

Record record() {
  return {kJob,
          {"tcp://10.0.0.1:41253", "tcp://[fe80::1]:9"},
          kKey,
          kKey,
          32,
          {4, 1, 2, 3},
          {"n4", "n1", "n2", "n3"},
          "ib0"};
}

std::string changed(void (*change)(Record&)) {
  Record result = record();
  change(result);
  return encode(result);
}

}  // namespace

TEST_CASE("boot record: decodes what it encodes") {
  const auto decoded = decode_record(encode(record()));
  REQUIRE(decoded.has_value());
  CHECK(decoded->job == kJob);
  CHECK(decoded->endpoints == record().endpoints);
  CHECK(decoded->root_key == kKey);
  CHECK(decoded->join_key == kKey);
  CHECK(decoded->width == 32);
  CHECK(decoded->hosts == record().hosts);
  CHECK(decoded->names == record().names);
  CHECK(decoded->iface == "ib0");
  CHECK(place_of(*decoded, "n2") == 2);
  CHECK_FALSE(place_of(*decoded, "n5").has_value());

  const auto join = decode_join(encode(Join{kJob, 7, kKey, {"tcp://1.2.3.4:5"}}));
  REQUIRE(join.has_value());
  CHECK(join->job == kJob);
  CHECK(join->host == 7);
  CHECK(join->key == kKey);
  CHECK(join->endpoints == std::vector<std::string>{"tcp://1.2.3.4:5"});

  const auto joined = decode_joined(encode(Joined{3, kKey, {"tcp://1.2.3.4:5"}}));
  REQUIRE(joined.has_value());
  CHECK(joined->parent == 3);
  CHECK(joined->parent_key == kKey);
  CHECK(joined->endpoints == std::vector<std::string>{"tcp://1.2.3.4:5"});
}

TEST_CASE("boot record: refuses each prefix of a record, and a record with more behind it") {
  const std::string bytes = encode(record());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CHECK_FALSE(decode_record(bytes.substr(0, size)).has_value());
  }
  CHECK_FALSE(decode_record(bytes + '\0').has_value());
}

TEST_CASE("boot record: refuses invalid fields") {
  const std::string records[] = {
      changed([](Record& r) { r.job = "short"; }),
      changed([](Record& r) { r.endpoints.clear(); }),
      changed([](Record& r) { r.endpoints = {"tcp://head-node:41253"}; }),
      changed([](Record& r) { r.endpoints.assign(kMaxEndpoints + 1, "tcp://10.0.0.1:1"); }),
      changed([](Record& r) { r.root_key = "no key"; }),
      changed([](Record& r) { r.join_key.clear(); }),
      changed([](Record& r) { r.join_key[3] = '"'; }),
      changed([](Record& r) { r.width = 0; }),
      changed([](Record& r) { r.hosts.clear(); }),
      changed([](Record& r) { r.hosts.push_back(4); }),
      changed([](Record& r) { r.hosts.assign(kMaxHosts + 1, 1); }),
      changed([](Record& r) { r.names.pop_back(); }),
      changed([](Record& r) { r.names[1].clear(); }),
      changed([](Record& r) { r.names[1].assign(kMaxName + 1, 'n'); }),
      changed([](Record& r) { r.iface.assign(kMaxName + 1, 'i'); }),
  };
  for (const std::string& bytes : records) CHECK_FALSE(decode_record(bytes).has_value());
  CHECK(decode_record(changed([](Record& r) { r.root_key.clear(); })).has_value());
}

TEST_CASE("boot record: refuses an invalid Join and Joined") {
  CHECK(decode_join(encode(Join{kJob, 7, kKey, {}})).has_value());
  CHECK_FALSE(decode_join(encode(Join{"", 7, kKey, {}})).has_value());
  CHECK_FALSE(decode_join(encode(Join{kJob, 7, "", {}})).has_value());
  CHECK_FALSE(decode_join(encode(Join{kJob, 7, kKey, {"ipc:///tmp/x"}})).has_value());
  CHECK_FALSE(decode_join(std::string(kMaxMessage + 1, '\0')).has_value());
  CHECK_FALSE(decode_joined(encode(Joined{3, kKey, {}})).has_value());
  CHECK_FALSE(decode_joined(encode(Joined{3, "x", {"tcp://1.2.3.4:5"}})).has_value());
}

TEST_CASE("boot record: every host has one parent before it, and no parent has more than `width` children") {
  for (const std::size_t width : {1, 2, 3, 32, 1000}) {
    constexpr std::size_t kHosts = 200;
    std::vector<std::size_t> children(kHosts + 1);
    for (std::size_t i = 1; i <= kHosts; ++i) {
      REQUIRE(parent_of(i, width) < i);
      ++children[parent_of(i, width)];
    }
    for (std::size_t i = 0; i <= kHosts; ++i) {
      CHECK(children[i] <= width);
      CHECK((children[i] > 0) == has_children(i, width, kHosts));
    }
  }
}

TEST_CASE("boot record: endpoints are numeric") {
  for (const char* text : {"tcp://10.0.0.1:1", "tcp://[::1]:65535", "tcp://[2001:db8::A]:80"})
    CHECK(is_endpoint(text));
  for (const char* text :
       {"", "tcp://", "10.0.0.1:1", "tcp://10.0.0.1", "tcp://10.0.0.1:", "tcp://10.0.0.1:0",
        "tcp://10.0.0.1:65536", "tcp://10.0.0.1:1x", "tcp://::1:1", "tcp://[]:1", "tcp://:1", "tcp://host:1",
        "tcp://[::1%eth0]:1", "tcp://*:1", "udp://10.0.0.1:1", "tcp://10.0.0.1;10.0.0.2:1"}) {
    CAPTURE(text);
    CHECK_FALSE(is_endpoint(text));
  }
}

}  // namespace wireup::wire::boot
