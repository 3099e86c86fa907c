// Published names: under which name which port is to be found (MPI_Publish_name). One object may serve
// several jobs, which then see each other's names; what a job has published goes when it leaves.
//
// A name is taken until it is unpublished, by the job that published it.
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
  using Owner = std::uint64_t;
  struct Entry {
    Owner owner;
    std::string port;
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  Owner join() { return ++last_owner_; }
  void leave(Owner owner);

  NameAnswer carry_out(Owner owner, const NameRequest& request);

  const Entries& entries() const { return entries_; }

 private:
  NameError publish(Owner owner, const NameRequest& request);
  NameError unpublish(Owner owner, const std::string& service);

  Owner last_owner_ = 0;
  Entries entries_;
};

}  // namespace wireup::engine
