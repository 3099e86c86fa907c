// A listening unix socket in a place of its own: in a fresh private folder in the first of several folders
// where that can be, or, where it can be in none, under an abstract name that nobody can guess. Its server
// decides by uid who may come in.
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

// Everybody may connect, and is refused by uid: a file's mode knows no list of users.
inline constexpr mode_t kShared = S_IRUSR | S_IWUSR | S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH;

struct PrivateParent {
  std::string variable;  // which names it, for people; may be empty
  std::string path;
};

struct PrivateListener {
  std::unique_ptr<os::PrivateDirectory> directory;  // null with an abstract name; outlives the listener
  std::unique_ptr<os::Listener> listener;
  wire::Address address;
};

// `shared`: every user may connect. Throws os::OsError that names each folder and its fault.
PrivateListener listen_privately(os::Reactor& reactor, const std::vector<PrivateParent>& parents, bool shared,
                                 const os::Listener::OnAccept& on_accept);

}  // namespace wireup::runtime
