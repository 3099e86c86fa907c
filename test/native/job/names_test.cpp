#include "job/names.h"

#include <doctest/doctest.h>

#include "job/limits.h"

namespace wireup::job {
namespace {

NameFault fault(Names& names, Names::Owner owner, NameOperation operation, const std::string& service) {
  return names.carry_out(owner, {operation, service, "port"}).fault;
}

}  // namespace

TEST_CASE("as many names as there is room for, and no more until one goes") {
  Names names;
  const Names::Owner owner = names.join();
  const Names::Owner other = names.join();
  for (std::size_t i = 0; i < kMaxNames; ++i) {
    REQUIRE(fault(names, owner, NameOperation::publish, "name-" + std::to_string(i)) == NameFault::none);
  }
  CHECK(fault(names, other, NameOperation::publish, "one more") == NameFault::full);
  CHECK(fault(names, other, NameOperation::publish, "name-0") == NameFault::taken);
  CHECK(fault(names, owner, NameOperation::unpublish, "name-0") == NameFault::none);
  CHECK(fault(names, other, NameOperation::publish, "one more") == NameFault::none);
  names.leave(owner);
  CHECK(names.entries().size() == 1);
  CHECK(names.carry_out(owner, {NameOperation::lookup, "one more"}).port == "port");
}

}  // namespace wireup::job
