#include "wire/zmq_key.h"

#include <doctest/doctest.h>

#include <string>

namespace wireup::wire {

TEST_CASE("zmq key: Z85 as in ZeroMQ's RFC 32") {
  CHECK(encode_z85(std::string("\x86\x4F\xD2\x6F\xB5\x59\xF7\x5B", 8)) == "HelloWorld");
  CHECK(encode_z85(std::string(4, '\0')) == "00000");
  CHECK(encode_z85(std::string(4, '\xff')) == "%nSc0");
  CHECK(encode_z85("").empty());
  CHECK(encode_z85("abc").empty());
}

TEST_CASE("zmq key: secrets are equal only as a whole") {
  CHECK(same_secret("abc", "abc"));
  CHECK(same_secret("", ""));
  CHECK_FALSE(same_secret("abc", "abd"));
  CHECK_FALSE(same_secret("abc", "ab"));
  CHECK_FALSE(same_secret("", "a"));
}

}  // namespace wireup::wire
