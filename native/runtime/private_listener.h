// Listening unix sockets in one private folder. The folder is made for the first of them, in the first of
// several parents that allows it. If none does, or the folder takes no socket, the socket gets a random
// abstract name. Each server checks the uid of its peers. The destructor removes the folder.
//
// Threads: the reactor's.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/listener.h"
#include "os/private_directory.h"
#include "os/reactor.h"
#include "wire/address.h"

namespace wireup::runtime {

// The mode of a socket for several users. Every user may connect, and the server refuses by uid, because a
// file's mode has no list of users.
inline constexpr mode_t kShared = S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;

struct PrivateParent {
  std::string variable;  // the variable that names the parent, for people; may be empty
  std::string path;
};

class PrivateFolder {
 public:
  struct Socket {
    std::unique_ptr<os::Listener> listener;  // must not outlive the PrivateFolder
    wire::Address address;
  };

  // `on_made` is called with the folder's path, right after it was made.
  explicit PrivateFolder(std::function<void(const std::string& path)> on_made = nullptr);

  // Makes the socket `name`, which no other socket in the folder has (os/private_directory.h has the rules).
  // The first call makes the folder. `shared`: every user may connect. Throws os::OsError whose text gives
  // each folder and why it failed.
  Socket listen(os::Reactor& reactor, const std::vector<PrivateParent>& parents, std::string_view name,
                bool shared, const os::Listener::OnAccept& on_accept);

 private:
  std::function<void(const std::string& path)> on_made_;
  std::unique_ptr<os::PrivateDirectory> directory_;
};

}  // namespace wireup::runtime
