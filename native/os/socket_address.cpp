#include "os/socket_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "os/error.h"

namespace wireup::os {

namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);

// One byte is the terminator of a path, or the NUL before an abstract name.
constexpr std::size_t kMaxName = sizeof(sockaddr_un::sun_path) - 1;

template <typename Address>
Address& as(sockaddr_storage& storage) {
  return reinterpret_cast<Address&>(storage);
}

template <typename Address>
const Address& as(const sockaddr_storage& storage) {
  return reinterpret_cast<const Address&>(storage);
}

}  // namespace

std::optional<SocketAddress> SocketAddress::numeric(const std::string& host, std::uint16_t port) {
  SocketAddress address;
  auto& v4 = as<sockaddr_in>(address.storage_);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    address.size_ = sizeof v4;
    return address;
  }
  auto& v6 = as<sockaddr_in6>(address.storage_);
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    address.size_ = sizeof v6;
    return address;
  }
  return std::nullopt;
}

std::vector<SocketAddress> SocketAddress::resolve(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (failure != 0) {
    throw OsError(failure == EAI_SYSTEM ? errno : ENXIO, "getaddrinfo",
                  host + ": " + ::gai_strerror(failure));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    SocketAddress address;
    std::memcpy(&address.storage_, entry->ai_addr, entry->ai_addrlen);
    address.size_ = entry->ai_addrlen;
    if (entry->ai_family == AF_INET) {
      as<sockaddr_in>(address.storage_).sin_port = htons(port);
    } else {
      as<sockaddr_in6>(address.storage_).sin6_port = htons(port);
    }
    addresses.push_back(address);
  }
  return addresses;
}

SocketAddress SocketAddress::unix_path(const std::string& path) {
  if (path.size() > kMaxName) throw OsError(ENAMETOOLONG, "bind", path);
  if (path.empty() || path.find('\0') != std::string::npos) throw OsError(EINVAL, "bind", path);
  SocketAddress address;
  auto& un = as<sockaddr_un>(address.storage_);
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  address.size_ = static_cast<socklen_t>(kPathOffset + path.size() + 1);
  return address;
}

SocketAddress SocketAddress::unix_abstract(const std::string& name) {
  if (name.size() > kMaxName) throw OsError(ENAMETOOLONG, "bind", "@" + name);
  if (name.empty()) throw OsError(EINVAL, "bind", "@");
  SocketAddress address;
  auto& un = as<sockaddr_un>(address.storage_);
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path + 1, name.data(), name.size());
  address.size_ = static_cast<socklen_t>(kPathOffset + 1 + name.size());
  return address;
}

SocketAddress SocketAddress::of_local(int fd) {
  SocketAddress address;
  address.size_ = sizeof address.storage_;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage_), &address.size_) < 0) {
    throw OsError::last("getsockname");
  }
  return address;
}

SocketAddress SocketAddress::of_peer(int fd) {
  SocketAddress address;
  address.size_ = sizeof address.storage_;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage_), &address.size_) < 0) {
    throw OsError::last("getpeername");
  }
  return address;
}

std::string SocketAddress::unix_name() const {
  if (size_ <= kPathOffset) return {};
  const char* name = as<sockaddr_un>(storage_).sun_path;
  const std::size_t size = size_ - kPathOffset;
  return name[0] == '\0' ? std::string(name, size) : std::string(name, ::strnlen(name, size));
}

bool SocketAddress::is_unix_path() const {
  if (family() != AF_UNIX) return false;
  const std::string name = unix_name();
  return !name.empty() && name[0] != '\0';
}

std::uint16_t SocketAddress::port() const {
  switch (family()) {
    case AF_INET:
      return ntohs(as<sockaddr_in>(storage_).sin_port);
    case AF_INET6:
      return ntohs(as<sockaddr_in6>(storage_).sin6_port);
    default:
      return 0;
  }
}

std::string SocketAddress::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) ::inet_ntop(AF_INET, &as<sockaddr_in>(storage_).sin_addr, text, sizeof text);
  if (family() == AF_INET6) ::inet_ntop(AF_INET6, &as<sockaddr_in6>(storage_).sin6_addr, text, sizeof text);
  return text;
}

std::string SocketAddress::text() const {
  if (family() == AF_INET) return host() + ":" + std::to_string(port());
  if (family() == AF_INET6) return "[" + host() + "]:" + std::to_string(port());
  std::string name = unix_name();
  if (name.empty()) return "unix";
  if (name[0] == '\0') name[0] = '@';
  return name;
}

}  // namespace wireup::os
