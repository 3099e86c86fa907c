// Published names: a map from service names to ports (MPI_Publish_name). Several process groups may share one
// object and then see each other's names. If a process group ends, its names are removed.
//
// Only the process group that has published a name can unpublish it. Until then the same name cannot be
// published again.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "wire/name_messages.h"

namespace wireup::engine {

using NameAnswer = wire::names::Answer;
using NameError = wire::names::Error;
using NameOperation = wire::names::Operation;
using NameRequest = wire::names::Request;

class Names {
 public:
  // A process group, or a client of a name server.
  using Owner = std::uint64_t;
  struct Entry {
    Owner owner;
    std::string port;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  Owner join() { return ++last_owner_; }
  // Removes the owner's names.
  void leave(Owner owner);

  NameAnswer execute(Owner owner, const NameRequest& request);

  const Entries& entries() const { return entries_; }

 private:
  NameError publish(Owner owner, const NameRequest& request);
  NameError unpublish(Owner owner, const std::string& service);

  Owner last_owner_ = 0;
  Entries entries_;
};

}  // namespace wireup::engine
