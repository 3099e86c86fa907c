// Stream sockets by io_uring: one system call receives from all sockets that are readable in a turn, before
// their handlers run, and one sends everything at the end of the turn. PMI's requests and replies are small,
// so most of a server's time for them is the way into the kernel and back.
//
// It uses plain system calls for few sockets, for large sends, outside a turn, and after the kernel has
// refused the ring. Threads: the reactor's.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "os/buffer.h"
#include "os/io_ring.h"
#include "os/plain_sockets.h"
#include "os/socket_backend.h"

namespace wireup::os {

class IoUringSockets final : public SocketBackend {
 public:
  // `fewest_calls`: it makes fewer calls than this by `plain`, which must outlive it.
  IoUringSockets(std::unique_ptr<IoRing> ring, PlainSockets& plain, std::size_t fewest_calls);

  void begin_turn(std::span<const int> readable) override;
  void end_turn() override;
  Received receive(int socket, std::size_t most) override;
  std::optional<Sent> send(Sender& sender, std::string_view bytes) override;
  void withdraw(Sender& sender) override;
  void discard(int socket) override;

  // False after the kernel has refused a call of the ring. Every call is then a plain one.
  bool works() const { return ring_ != nullptr; }

 private:
  void perform(std::vector<SocketCall>& calls);
  void send_waiting();

  std::unique_ptr<IoRing> ring_;
  PlainSockets& plain_;
  const std::size_t fewest_calls_;
  bool in_turn_ = false;
  Buffer rooms_;  // a room for each receive
  std::vector<SocketCall> receives_;
  std::size_t next_receive_ = 0;  // whose handler is likely to be the next
  std::vector<Sender*> waiting_;  // null: withdrawn
  std::vector<SocketCall> sends_;
};

}  // namespace wireup::os
