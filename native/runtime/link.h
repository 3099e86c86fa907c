// A connection between two nodes of a launch's tree: the launcher and its agent, or two agents. It carries
// whole packets in order, and what is above it cannot tell its kind:
//
//   LocalLink    both ends are on one host; packets may carry file descriptors
//   StreamLink   a byte stream, such as stdin and stdout of an ssh command
//   ZmqLink      a connection of ZeroMQ
//
// A link never blocks the loop. It queues, without a limit, what the kernel does not take; its user watches
// unsent().
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "os/fd.h"
#include "wire/agent_messages.h"

namespace wireup::runtime {

using wire::agent::kMaxPacket;

enum class LinkEnd : std::uint8_t {
  closed,   // the peer closed the link, in one direction or both
  failed,   // reading or writing failed
  silent,   // nothing came from the peer for too long
  invalid,  // the peer's bytes are not those of a link
  version,  // the peer has another version of the protocol
};

class LinkObserver {
 public:
  virtual ~LinkObserver() = default;
  // One whole packet; the view is valid until the link is destroyed. `fds` are CLOEXEC. Nullopt: not all fds
  // fitted under this process's limit of open files, and all have been closed. The observer may destroy the
  // link.
  virtual void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> fds) = 0;
  // unsent() has decreased, outside of send(). The observer may send, but must not destroy the link.
  virtual void on_link_taken() {}
  // Called once, as the last call, after all packets that came before the end. `error` is an errno if `why`
  // is `failed`, else 0. `detail` is for people ("no sign for 5 s") and printable. The observer may destroy
  // the link.
  virtual void on_link_end(LinkEnd why, int error, const std::string& detail) = 0;
};

// The destructor closes the link. What the kernel has not taken by then is lost.
class Link {
 public:
  virtual ~Link() = default;
  // Sends 1 to kMaxPacket bytes and at most os::kMaxFdsPerMessage fds, else throws OsError(EMSGSIZE). If
  // there are fds and carries_fds() is false, it throws OsError(EOPNOTSUPP). Closes the fds when they are
  // sent. Never calls the observer. Does nothing after the end.
  virtual void send(std::string packet, std::vector<os::UniqueFd> fds = {}) = 0;
  virtual bool carries_fds() const = 0;
  // The bytes that the kernel has not taken. They include the link's own, such as lengths of packets. 0 after
  // the end.
  virtual std::size_t unsent() const = 0;
};

}  // namespace wireup::runtime
