// Stream sockets by plain system calls: recv(2) when a handler reads, send(2) when it sends. Nothing is
// received ahead and nothing waits. Works on every kernel. Threads: the reactor's.
#pragma once

#include "os/buffer.h"
#include "os/socket_backend.h"

namespace wireup::os {

class PlainSockets final : public SocketBackend {
 public:
  PlainSockets();

  void begin_turn(std::span<const int>) override {}
  void end_turn() override {}
  Received receive(int socket, std::size_t most) override;
  std::optional<Sent> send(Sender& sender, std::string_view bytes) override;
  void withdraw(Sender&) override {}
  void discard(int) override {}

 private:
  Buffer buffer_;
};

}  // namespace wireup::os
