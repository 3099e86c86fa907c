#include "engine/names.h"

#include <doctest/doctest.h>

#include "engine/limits.h"

namespace wireup::engine {
namespace {

NameError fault(Names& names, Names::Owner owner, NameOperation operation, const std::string& service) {
  return names.execute(owner, {operation, service, "port"}).error;
}

}  // namespace

TEST_CASE("names: a publish is refused while there are kMaxNames names") {
  Names names;
  const Names::Owner owner = names.join();
  const Names::Owner other = names.join();
  for (std::size_t i = 0; i < kMaxNames; ++i) {
    REQUIRE(fault(names, owner, NameOperation::publish, "name-" + std::to_string(i)) == NameError::none);
  }
  CHECK(fault(names, other, NameOperation::publish, "one more") == NameError::full);
  CHECK(fault(names, other, NameOperation::publish, "name-0") == NameError::taken);
  CHECK(fault(names, owner, NameOperation::unpublish, "name-0") == NameError::none);
  CHECK(fault(names, other, NameOperation::publish, "one more") == NameError::none);
  names.leave(owner);
  CHECK(names.entries().size() == 1);
  CHECK(names.execute(owner, {NameOperation::lookup, "one more"}).port == "port");
}

}  // namespace wireup::engine
