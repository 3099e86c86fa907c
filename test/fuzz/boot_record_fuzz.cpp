// Fuzzes the decoders of wire/boot_record.h with the bytes of a launcher or peer. These invariants must hold:
//
// 1. No undefined behaviour (the sanitizers check that), and no exception.
// 2. What is decoded encodes to the same bytes.
// 3. What is decoded keeps the limits, and all its addresses and keys are valid.
//
// The first byte of the input chooses the message. A violation prints its number to stderr and aborts.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "wire/boot_record.h"

namespace wireup::fuzz {
namespace {

using namespace wire::boot;

void require(bool holds, int invariant, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what);
  std::abort();
}

void require_endpoints(const std::vector<std::string>& endpoints) {
  require(endpoints.size() <= kMaxEndpoints, 3, "the number of addresses");
  require(std::ranges::all_of(endpoints, is_endpoint), 3, "an address");
}

void check_record(std::string_view bytes) {
  const auto record = decode_record(bytes);
  if (!record) return;
  require(encode(*record) == bytes, 2, "a record");
  require_endpoints(record->endpoints);
  require(record->hosts.size() <= kMaxHosts && record->width > 0, 3, "the hosts");
  require(record->names.size() == record->hosts.size(), 3, "the names");
  require(place_of(*record, record->names.front()) == 0, 3, "a place");
  require(is_key(record->join_key) && record->job.size() == kJobIdSize, 3, "the keys of a record");
}

void check_join(std::string_view bytes) {
  const auto join = decode_join(bytes);
  if (!join) return;
  require(encode(*join) == bytes, 2, "a Join");
  require_endpoints(join->endpoints);
  require(is_key(join->key) && join->job.size() == kJobIdSize, 3, "the key of a Join");
}

void check_joined(std::string_view bytes) {
  const auto joined = decode_joined(bytes);
  if (!joined) return;
  require(encode(*joined) == bytes, 2, "a Joined");
  require_endpoints(joined->endpoints);
}

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  switch (data[0] % 3) {
    case 0:
      check_record(bytes);
      break;
    case 1:
      check_join(bytes);
      break;
    default:
      check_joined(bytes);
  }
  return 0;
}
