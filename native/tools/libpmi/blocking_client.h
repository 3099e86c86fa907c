// The process manager for a C program: calls that block until the reply. The environment names the server. If
// it names none, the engine runs in this process, as a process group of size 1.
//
// Threads: one at a time; library.h has the lock.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/client_session.h"

namespace wireup::libpmi {

// The connection to the server.
class ServerLink {
 public:
  virtual ~ServerLink() = default;
  // Both throw client::Failure.
  virtual void send(std::string_view bytes) = 0;
  // Waits for bytes, and passes them to the session.
  virtual void receive(engine::ClientSession& session, engine::ClientEffects& effects, bool for_ever) = 0;
  virtual std::string name() const = 0;  // for people
};

class BlockingClient {
 public:
  // Connects by PMI_FD or PMI_PORT, and makes the handshake. Throws client::Failure.
  static std::unique_ptr<BlockingClient> open(wire::Version version = wire::Version::v1);

  const engine::ClientInfo& info() const { return info_; }

  // Each throws client::Failure if the connection fails, and at every call after that.
  engine::Answer put(std::string_view key, std::string_view value);
  engine::Answer get(std::string_view key);
  engine::Answer barrier();
  engine::Answer publish(std::string_view service, std::string_view port);
  engine::Answer unpublish(std::string_view service);
  engine::Answer lookup(std::string_view service);
  engine::Answer spawn(const engine::SpawnRequest& request);
  // PMI-2 only.
  engine::Answer put_node_attribute(std::string_view key, std::string_view value);
  engine::Answer get_node_attribute(std::string_view key, bool wait);
  engine::Answer get_job_attribute(std::string_view key);
  engine::Answer finalize();
  void abort(int exit_code, std::string_view message);

  // Sends its request only once. Throws client::Failure also if the reply cannot be parsed; the connection
  // then still works.
  const std::vector<std::uint32_t>& clique();

 private:
  BlockingClient(std::unique_ptr<ServerLink> peer, engine::ClientOptions options);
  void send_pending();
  engine::Answer finish(engine::RequestId request, bool for_ever = false);
  void throw_if_failed() const;

  std::unique_ptr<ServerLink> peer_;
  engine::ClientSession session_;
  engine::ClientEffects effects_;
  engine::ClientInfo info_;
  std::vector<std::uint32_t> clique_;
  std::string failure_;
};

}  // namespace wireup::libpmi
