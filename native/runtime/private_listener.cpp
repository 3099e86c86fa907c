#include "runtime/private_listener.h"

#include <array>
#include <utility>

#include "os/error.h"
#include "os/random.h"
#include "os/socket_address.h"

namespace wireup::runtime {
namespace {

std::string fresh_abstract_name() {
  std::array<std::byte, 16> bytes;
  os::fill_random(bytes);
  std::string name = "wireup-";
  for (const std::byte byte : bytes) {
    const auto value = std::to_integer<unsigned>(byte);
    for (const unsigned digit : {value >> 4, value & 15}) name += "0123456789abcdef"[digit];
  }
  return name;
}

PrivateFolder::Socket listen_in(const os::PrivateDirectory& directory, os::Reactor& reactor,
                                std::string_view name, bool shared, const os::Listener::OnAccept& on_accept) {
  PrivateFolder::Socket socket;
  const auto address = os::SocketAddress::unix_path(directory.socket_by_fd(name));
  socket.listener =
      std::make_unique<os::Listener>(reactor, address, on_accept, shared ? kShared : os::Listener::kPrivate);
  socket.address = wire::UnixAddress{directory.socket(name), false};
  return socket;
}

}  // namespace

PrivateFolder::PrivateFolder(std::function<void(const std::string& path)> on_made)
    : on_made_(std::move(on_made)) {}

PrivateFolder::Socket PrivateFolder::listen(os::Reactor& reactor, const std::vector<PrivateParent>& parents,
                                            std::string_view name, bool shared,
                                            const os::Listener::OnAccept& on_accept) {
  std::string faults;
  const auto failed = [&](const std::string& folder, const std::string& fault) {
    faults += folder + ": " + fault + "; ";
  };
  if (directory_) {
    if (shared) directory_->make_passable();
    try {
      return listen_in(*directory_, reactor, name, shared, on_accept);
    } catch (const os::OsError& error) {
      failed(directory_->path(), error.code().message());
    }
  } else {
    for (const PrivateParent& parent : parents) {
      const std::string text = (parent.variable.empty() ? "" : parent.variable + "=") + parent.path;
      std::string fault;
      auto made = os::PrivateDirectory::make(parent.path, shared, fault);
      if (!made) {
        failed(text, fault);
        continue;
      }
      try {
        Socket socket = listen_in(*made, reactor, name, shared, on_accept);
        directory_ = std::move(made);
        if (on_made_) on_made_(directory_->path());
        return socket;
      } catch (const os::OsError& error) {
        failed(text, error.code().message());
      }
    }
  }
  const wire::UnixAddress address{fresh_abstract_name(), true};
  try {
    Socket socket;
    socket.listener =
        std::make_unique<os::Listener>(reactor, os::SocketAddress::unix_abstract(address.path), on_accept);
    socket.address = address;
    return socket;
  } catch (const os::OsError& error) {
    throw os::OsError(error.code().value(), "bind", "a private unix socket (" + faults + "an abstract name)");
  }
}

}  // namespace wireup::runtime
