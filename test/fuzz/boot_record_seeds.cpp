// Valid messages of each kind.
#include <string>
#include <vector>

#include "fuzz_input.h"
#include "wire/boot_record.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  using namespace wire::boot;
  const std::string job(kJobIdSize, 'j');
  const std::string key(40, 'k');
  const std::vector<std::string> endpoints = {"tcp://10.0.0.1:41253", "tcp://[2001:db8::1]:80"};
  return {
      '\0' + encode(Record{job, endpoints, key, key, 32, {1, 2, 3}, {"n1", "n2", "n3"}, "ib0"}),
      '\0' + encode(Record{job, endpoints, "", key, 1, {9}, {"n9"}}),
      '\1' + encode(Join{job, 3, key, endpoints}),
      '\1' + encode(Join{job, 3, key, {}}),
      '\2' + encode(Joined{0, key, endpoints}),
  };
}

}  // namespace wireup::fuzz
