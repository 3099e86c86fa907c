// A child's end of a link over ZeroMQ: a DEALER socket that connects to the parent's hub (runtime/zmq_hub.h).
//
// It tries the parent's addresses in turn until one answers with the parent's key, since some may be of
// networks that this host cannot reach. A link that was up never connects again: what was in between is lost.
// Threads: the reactor's.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/reactor.h"
#include "os/zmq_socket.h"
#include "runtime/link.h"
#include "runtime/zmq_link.h"

namespace wireup::runtime {

struct ZmqParentOptions {
  std::vector<std::string> endpoints;  // of the hub; at least one
  // Both empty: insecure links.
  std::string parent_key = {};
  os::ZmqKeys keys = {};
  std::string password = {};  // of insecure links
  ZmqTiming timing = {};
  std::chrono::milliseconds try_for{2000};    // each address
  std::chrono::milliseconds give_up{60'000};  // in all
};

class ZmqParentPort : public ZmqPort {
 public:
  // Sets another observer.
  virtual void observe(ZmqPortObserver& observer) = 0;
};

// A port that connects to one of the endpoints. Throws ZmqMissing, OsError.
std::unique_ptr<ZmqParentPort> connect_to_zmq_hub(os::Reactor& reactor, ZmqParentOptions options,
                                                  ZmqPortObserver& observer);

// A link over such a port. Throws as it does.
std::unique_ptr<ZmqLink> connect_to_zmq_parent(os::Reactor& reactor, ZmqParentOptions options,
                                               std::function<void()> on_up, LinkObserver& observer);

// A link over a port that is connected.
std::unique_ptr<ZmqLink> link_to_zmq_parent(os::Reactor& reactor, std::unique_ptr<ZmqParentPort> port,
                                            const LinkTiming& timing, std::function<void()> on_up,
                                            LinkObserver& observer);

}  // namespace wireup::runtime
