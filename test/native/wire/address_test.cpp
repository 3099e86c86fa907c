#include "wire/address.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {
namespace {

TcpAddress tcp(std::string host, std::uint16_t port) { return {std::move(host), port}; }

TEST_CASE("address: each has its transport, by name") {
  CHECK(name_of(transport_of(tcp("h", 1))) == "tcp");
  CHECK(name_of(transport_of(UnixAddress{"x", false})) == "unix");
  CHECK(name_of(Transport::inherited_fd) == "fd");
}

TEST_CASE("address: valid addresses are parsed and written in both forms") {
  const struct {
    std::string text;
    Address address;
    std::string uri;
    std::string pmi_port;
  } rows[] = {
      {"localhost:5000", tcp("localhost", 5000), "tcp://localhost:5000", "localhost:5000"},
      {"tcp://localhost:5000", tcp("localhost", 5000), "tcp://localhost:5000", "localhost:5000"},
      {"127.0.0.1:0", tcp("127.0.0.1", 0), "tcp://127.0.0.1:0", "127.0.0.1:0"},
      {"h:65535", tcp("h", 65535), "tcp://h:65535", "h:65535"},
      {"[::1]:80", tcp("::1", 80), "tcp://[::1]:80", "[::1]:80"},
      {"tcp://[fe80::1%eth0]:80", tcp("fe80::1%eth0", 80), "tcp://[fe80::1%eth0]:80", "[fe80::1%eth0]:80"},
      {"tcp://[::ffff:1.2.3.4]:9", tcp("::ffff:1.2.3.4", 9), "tcp://[::ffff:1.2.3.4]:9",
       "[::ffff:1.2.3.4]:9"},
      {"/run/x.sock", UnixAddress{"/run/x.sock", false}, "unix:///run/x.sock", "unix:///run/x.sock"},
      {"unix:///run/x.sock", UnixAddress{"/run/x.sock", false}, "unix:///run/x.sock", "unix:///run/x.sock"},
      {"unix://x:1.sock", UnixAddress{"x:1.sock", false}, "unix://x:1.sock", "unix://x:1.sock"},
      {"unix://@name", UnixAddress{"name", true}, "unix://@name", "unix://@name"},
      {"/" + std::string(106, 'p'), UnixAddress{"/" + std::string(106, 'p'), false},
       "unix:///" + std::string(106, 'p'), "unix:///" + std::string(106, 'p')},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const ParsedAddress parsed = parse_address(row.text);
    REQUIRE(parsed.address);
    CHECK(*parsed.address == row.address);
    CHECK(to_uri(*parsed.address) == row.uri);
    CHECK(to_pmi_port(*parsed.address) == row.pmi_port);
    CHECK(parse_address(row.uri).address == row.address);
    CHECK(parse_address(row.pmi_port).address == row.address);
  }
}

TEST_CASE("address: an error names the invalid part and what was expected") {
  const std::string long_path = "/" + std::string(107, 'p');
  const struct {
    std::string text;
    std::string part;
    std::string reason_holds;
  } rows[] = {
      {"", "", "host:port"},
      {"localhost", "localhost", "port"},
      {"localhost:", "", "port"},
      {":5000", ":5000", "host"},
      {"tcp://", "", "host:port"},
      {"tcp://:1", ":1", "host"},
      {"h:65536", "65536", "65535"},
      {"h:-1", "-1", "65535"},
      {"h:+1", "+1", "65535"},
      {"h:80x", "80x", "65535"},
      {"h: 80", " 80", "65535"},
      {"h:99999999999999999999", "99999999999999999999", "65535"},
      {"h h:80", "h h", "host name"},
      {"a/b:80", "a/b", "host name"},
      {"::1:80", "::1:80", "brackets"},
      {"fe80::1", "fe80::1", "brackets"},
      {"[::1:80", "[::1:80", "']'"},
      {"[]:80", "[]:80", "IPv6"},
      {"[name]:80", "name", "IPv6"},
      {"[::1]", "[::1]", "port"},
      {"[::1]80", "80", "':'"},
      {"[::1]:", "", "port"},
      {"udp://h:1", "udp://", "tcp://"},
      {"://h:1", "://", "tcp://"},
      {"unix://", "", "path"},
      {"unix://@", "@", "name"},
      {long_path, long_path, "107"},
      {"unix://@" + std::string(108, 'n'), "@" + std::string(108, 'n'), "107"},
      {std::string("/a\0b", 4), std::string("/a\0b", 4), "NUL"},
      {std::string("h\0h:1", 5), std::string("h\0h", 3), "host name"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const ParsedAddress parsed = parse_address(row.text);
    CHECK_FALSE(parsed.address);
    CHECK(parsed.error.part == row.part);
    CHECK(parsed.error.reason.find(row.reason_holds) != std::string::npos);
  }
}

}  // namespace
}  // namespace wireup::wire
