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

}  // namespace

PrivateListener listen_privately(os::Reactor& reactor, const std::vector<PrivateParent>& parents, bool shared,
                                 const os::Listener::OnAccept& on_accept) {
  std::string faults;
  const auto failed = [&](const PrivateParent& parent, const std::string& fault) {
    faults += (parent.variable.empty() ? "" : parent.variable + "=") + parent.path + ": " + fault + "; ";
  };
  for (const PrivateParent& parent : parents) {
    std::string fault;
    PrivateListener made;
    made.directory = os::PrivateDirectory::make(parent.path, shared, fault);
    if (!made.directory) {
      failed(parent, fault);
      continue;
    }
    try {
      made.listener = std::make_unique<os::Listener>(
          reactor, os::SocketAddress::unix_path(made.directory->socket_by_fd()), on_accept,
          shared ? kShared : os::Listener::kPrivate);
    } catch (const os::OsError& error) {
      failed(parent, error.code().message());
      continue;
    }
    made.address = wire::UnixAddress{made.directory->socket(), false};
    return made;
  }
  const wire::UnixAddress address{fresh_abstract_name(), true};
  try {
    auto listener =
        std::make_unique<os::Listener>(reactor, os::SocketAddress::unix_abstract(address.path), on_accept);
    return {nullptr, std::move(listener), address};
  } catch (const os::OsError& error) {
    throw os::OsError(error.code().value(), "bind", "a private unix socket (" + faults + "an abstract name)");
  }
}

}  // namespace wireup::runtime
