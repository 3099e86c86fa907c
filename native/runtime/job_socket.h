// The socket on which a job answers questions about itself. It lies in a private folder of the user
// (os/private_directory.h), whose name is random and whose socket has the process id of the launcher in its
// name. So a reader finds the jobs of a user by the folders, and no list of them is kept.
//
// A connection sends one line, its question, and receives lines until the socket closes it. The socket asks
// the kernel for the peer's user (SO_PEERCRED) before it reads a byte, and closes the connection of another
// user. It bounds the number of connections, the length of a question, the time until it is complete, and the
// bytes that wait for a slow reader.
//
// Threads: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "os/listener.h"
#include "os/private_directory.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/private_listener.h"

namespace wireup::runtime {

// The name of the socket: this and the process id. It begins with os::kSocketName, so that
// os::PrivateDirectory removes it if its process is killed. No socket of PMI has such a name.
inline constexpr std::string_view kJobSocketName = "pmi-job";

inline constexpr std::size_t kMaxJobClients = 32;
inline constexpr std::size_t kMaxQuestion = 64 << 10;

class JobSocket {
 public:
  using ConnectionId = std::uint32_t;
  // May call reply(), and must not destroy the JobSocket.
  using OnQuestion = std::function<void(ConnectionId connection, std::string question)>;
  // A connection that has asked has ended, and gets no more replies. Not called after the last reply.
  using OnGone = std::function<void(ConnectionId connection)>;

  // Listens in a new private folder in the first of the parents that allows it. Throws os::OsError whose text
  // gives each parent and why it failed.
  JobSocket(os::Reactor& reactor, const std::vector<PrivateParent>& parents, OnQuestion on_question,
            OnGone on_gone);
  ~JobSocket();
  JobSocket(const JobSocket&) = delete;
  JobSocket& operator=(const JobSocket&) = delete;

  // The socket's path.
  const std::string& path() const { return path_; }
  // Sends the text to the connection, if it still exists. `last`: closes it when the text is sent.
  void reply(ConnectionId connection, std::string_view text, bool last);

 private:
  struct Connection final : public os::StreamObserver {
    Connection(JobSocket& job_socket, ConnectionId number) : socket(job_socket), id(number) {}
    void on_bytes(os::Stream& stream, std::string_view bytes) override;
    void on_end(os::Stream&, int) override { socket.forget(id); }

    JobSocket& socket;
    ConnectionId id;
    std::string question;
    bool asked = false;
    bool answered = false;
    os::Reactor::TimerId timer = 0;
    std::unique_ptr<os::Stream> stream;
  };

  void listen(const std::vector<PrivateParent>& parents);
  void accepted(os::UniqueFd socket);
  void forget(ConnectionId id);

  os::Reactor& reactor_;
  OnQuestion on_question_;
  OnGone on_gone_;
  std::unique_ptr<os::PrivateDirectory> directory_;  // outlives the listener, which unlinks its socket in it
  std::unique_ptr<os::Listener> listener_;
  std::string path_;
  ConnectionId last_ = 0;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections_;
};

}  // namespace wireup::runtime
