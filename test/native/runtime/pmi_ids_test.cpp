#include "runtime/pmi_ids.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

namespace wireup::runtime {

using wire::agent::PmiIdKind;

namespace {

std::set<std::string> texts(std::uint32_t size, PmiIdKind kind) {
  std::set<std::string> result;
  for (const engine::PmiId& id : make_pmi_ids(size, kind)) result.insert(id.text);
  return result;
}

}  // namespace

TEST_CASE("PMI_IDs: numbers are different, below 2^31, and new each time") {
  // Of 2^17 random numbers below 2^31, four pairs are expected to be equal.
  constexpr std::uint32_t kSize = 1 << 17;
  const auto ids = texts(kSize, PmiIdKind::number);
  CHECK(ids.size() == kSize);
  std::uint64_t largest = 0;
  for (const std::string& id : ids) largest = std::max<std::uint64_t>(largest, std::stoull(id));
  CHECK(largest < std::uint64_t{1} << 31);
  CHECK(largest > std::uint64_t{1} << 30);
  CHECK(texts(4, PmiIdKind::number) != texts(4, PmiIdKind::number));
}

TEST_CASE("PMI_IDs: hexadecimal ones have 32 digits") {
  const auto ids = texts(1000, PmiIdKind::hexadecimal);
  CHECK(ids.size() == 1000);
  for (const std::string& id : ids) {
    CHECK(id.size() == 32);
    CHECK(id.find_first_not_of("0123456789abcdef") == std::string::npos);
  }
}

TEST_CASE("PMI_IDs: the rank itself") {
  const auto ids = make_pmi_ids(3, PmiIdKind::rank);
  REQUIRE(ids.size() == 3);
  CHECK(ids[0].text == "0");
  CHECK(ids[2].text == "2");
}

}  // namespace wireup::runtime
