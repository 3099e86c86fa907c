// Published names: under which name which port is to be found (MPI_Publish_name). One object may serve several jobs,
// which then see each other's names; what a job has published goes when it leaves.
//
// A name is taken until it is unpublished, by the job that published it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace wireup::job {

class Names {
 public:
  using Owner = std::uint64_t;

  Owner join() { return ++last_owner_; }
  void leave(Owner owner);

  // False: the name is taken.
  bool publish(Owner owner, std::string_view service, std::string_view port);
  // False: no such name of this owner's.
  bool unpublish(Owner owner, std::string_view service);
  // Null when there is none; valid until the next change.
  const std::string* lookup(std::string_view service) const;

 private:
  struct Entry {
    Owner owner;
    std::string port;
  };
  Owner last_owner_ = 0;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace wireup::job
