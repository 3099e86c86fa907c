// A link between two processes of one host, over a seqpacket socket.
//
// A packet becomes one message, or several if it is longer than os::kMaxMessage. The last byte of a message
// is 1 if more of the packet follows, else 0. The fds of a packet are attached to its last message.
//
// Threads: the reactor's.
#pragma once

#include <optional>
#include <string>

#include "os/message_socket.h"
#include "runtime/link.h"

namespace wireup::runtime {

class LocalLink final : public Link, os::MessageSocketObserver {
 public:
  // Makes the socket non-blocking. Throws OsError.
  LocalLink(os::Reactor& reactor, os::UniqueFd socket, LinkObserver& observer);

  void send(std::string packet, std::vector<os::UniqueFd> fds = {}) override;
  bool carries_fds() const override { return true; }
  std::size_t unsent() const override { return socket_ ? socket_->unsent() : 0; }

 private:
  void on_message(std::string_view message, std::optional<std::vector<os::UniqueFd>> fds) override;
  void on_messages_taken() override { observer_.on_link_taken(); }
  void on_message_end(int error) override;
  void end(LinkEnd why, int error, const std::string& detail);

  LinkObserver& observer_;
  std::string beginning_;                    // of a packet whose last message has not come
  std::optional<os::MessageSocket> socket_;  // none after the end
};

}  // namespace wireup::runtime
