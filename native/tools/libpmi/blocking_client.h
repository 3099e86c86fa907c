// The process manager as a C program sees it: calls that block until they are answered. It stands behind a
// socket, as the environment says, or, where the environment names none, in this very process: a job of
// size 1.
//
// Threads: one at a time; library.h holds the lock.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/client_session.h"

namespace wireup::libpmi {

// The other end of the conversation.
class ServerLink {
 public:
  virtual ~ServerLink() = default;
  // Both throw client::Failure.
  virtual void say(std::string_view bytes) = 0;
  // Waits for something, and hands it to the session.
  virtual void hear(engine::ClientSession& session, engine::ClientEffects& effects, bool for_ever) = 0;
  virtual std::string name() const = 0;  // for people
};

class BlockingClient {
 public:
  // Connects by PMI_FD or PMI_PORT and shakes hands. Throws client::Failure.
  static std::unique_ptr<BlockingClient> open(wire::Version version = wire::Version::v1);

  const engine::ClientInfo& info() const { return info_; }

  // Each throws client::Failure when the connection is of no more use, and ever after.
  engine::Answer put(std::string_view key, std::string_view value);
  engine::Answer get(std::string_view key);
  engine::Answer barrier();
  engine::Answer publish(std::string_view service, std::string_view port);
  engine::Answer unpublish(std::string_view service);
  engine::Answer lookup(std::string_view service);
  engine::Answer spawn(const engine::SpawnRequest& request);
  // Of PMI-2 only.
  engine::Answer put_node_attribute(std::string_view key, std::string_view value);
  engine::Answer get_node_attribute(std::string_view key, bool wait);
  engine::Answer get_job_attribute(std::string_view key);
  engine::Answer finalize();
  void abort(int exit_code, std::string_view message);

  // Asked for once. Throws client::Failure also where what the server says cannot be read; the connection
  // lives on.
  const std::vector<std::uint32_t>& clique();

 private:
  BlockingClient(std::unique_ptr<ServerLink> peer, engine::ClientOptions options);
  void say();
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
