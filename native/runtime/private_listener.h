// Makes a listening unix socket in a fresh private folder. The folder is made in the first of several parents
// that allows it. If none does, the socket gets a random abstract name. Its server checks the uid of each
// peer.
//
// Threads: the reactor's.
#pragma once

#include <sys/stat.h>

#include <memory>
#include <string>
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

struct PrivateListener {
  std::unique_ptr<os::PrivateDirectory> directory;  // null with an abstract name; must outlive the listener
  std::unique_ptr<os::Listener> listener;
  wire::Address address;
};

// `shared`: every user may connect. Throws os::OsError whose text gives each folder and why it failed.
PrivateListener listen_privately(os::Reactor& reactor, const std::vector<PrivateParent>& parents, bool shared,
                                 const os::Listener::OnAccept& on_accept);

}  // namespace wireup::runtime
