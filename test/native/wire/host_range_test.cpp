#include "wire/host_range.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

bool contains(const char* range, const char* host) {
  const ParsedHostRange parsed = parse_host_range(range);
  const auto address = parse_ip(host);
  REQUIRE(parsed.range);
  REQUIRE(address);
  return parsed.range->contains(*address);
}

TEST_CASE("host range: all spellings of an address are equal") {
  CHECK(contains("192.0.2.7", "192.0.2.7"));
  CHECK(contains("192.0.2.7", "::ffff:192.0.2.7"));
  CHECK(contains("::ffff:c000:207", "192.0.2.7"));
  CHECK(contains("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"));
  CHECK(contains("::", "0:0:0:0:0:0:0:0"));
  CHECK(contains("1::", "1:0:0:0:0:0:0:0"));
  CHECK(contains("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"));
  CHECK_FALSE(contains("192.0.2.7", "192.0.2.8"));
  CHECK_FALSE(contains("192.0.2.7", "2001:db8::1"));
  CHECK_FALSE(contains("0.0.0.0", "::"));
}

TEST_CASE("host range: only the leading bits count") {
  CHECK(contains("10.0.0.0/8", "10.255.255.255"));
  CHECK_FALSE(contains("10.0.0.0/8", "11.0.0.0"));
  CHECK(contains("10.1.2.3/8", "10.9.9.9"));
  CHECK(contains("192.0.2.128/25", "192.0.2.255"));
  CHECK_FALSE(contains("192.0.2.128/25", "192.0.2.127"));
  CHECK(contains("192.0.2.6/31", "192.0.2.7"));
  CHECK_FALSE(contains("192.0.2.6/32", "192.0.2.7"));
  CHECK(contains("2001:db8::/33", "2001:db8:7fff::1"));
  CHECK_FALSE(contains("2001:db8::/33", "2001:db8:8000::1"));
  CHECK(contains("::/0", "2001:db8::1"));
  CHECK(contains("::/0", "192.0.2.7"));
  CHECK(contains("0.0.0.0/0", "192.0.2.7"));
  CHECK_FALSE(contains("0.0.0.0/0", "2001:db8::1"));
}

TEST_CASE("host range: an error names the invalid part and what was expected") {
  struct Row {
    const char* text;
    const char* part;
  };
  const Row rows[] = {
      {"", ""},
      {"localhost", "localhost"},
      {"10.0.0/8", "10.0.0"},
      {"10.0.0.0.0", "10.0.0.0.0"},
      {"10.0.0.256", "10.0.0.256"},
      {"10.0.0.01", "10.0.0.01"},
      {"10.0.0.", "10.0.0."},
      {".10.0.0", ".10.0.0"},
      {"+1.0.0.0", "+1.0.0.0"},
      {"10.0.0.0/33", "33"},
      {"10.0.0.0/", ""},
      {"10.0.0.0/-1", "-1"},
      {"10.0.0.0/8/8", "8/8"},
      {"::1/129", "129"},
      {":::", ":::"},
      {"1::2::3", "1::2::3"},
      {"1:2:3:4:5:6:7", "1:2:3:4:5:6:7"},
      {"1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8:9"},
      {"1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:8::"},
      {"12345::", "12345::"},
      {"1:", "1:"},
      {":1", ":1"},
      {"::1.2.3.4:5", "::1.2.3.4:5"},
      {"1.2.3.4::", "1.2.3.4::"},
      {"fe80::1%eth0", "fe80::1%eth0"},
      {"[::1]", "[::1]"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    const ParsedHostRange parsed = parse_host_range(row.text);
    CHECK_FALSE(parsed.range);
    CHECK(parsed.error.part == row.part);
    CHECK(parsed.error.reason.starts_with("expected "));
  }
}

}  // namespace
}  // namespace wireup::wire
