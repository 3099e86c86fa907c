// A PMI client on a socket: engine::ClientSession behind a connection.
//
// Threads: the reactor's. Notices go to `sink` under `handle`: Ready, an Answer a request (or Answers for
// several that have succeeded), then Failed or Error when the connection is of no more use, and Closed at the
// end.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/client_session.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/notice.h"
#include "wire/address.h"

namespace wireup::runtime {

struct ConnectOptions {
  int fd = -1;  // an inherited PMI_FD, ours from now on if it is a socket; else address
  std::optional<wire::Address> address;  // a TCP host in digits
  std::chrono::milliseconds timeout{0};  // from connect() to the end of the handshake
  engine::ClientOptions session;
};

enum class ClientOperation : std::uint8_t {
  put,
  get,
  barrier,
  publish,
  unpublish,
  lookup,
  put_node_attribute,
  get_node_attribute,
  wait_node_attribute,  // until it has been put
  get_job_attribute,
  finalize
};

// What one request is about: a key, a service or a group, and a value or a port, where the operation has
// them.
struct ClientItem {
  std::string key = {};
  std::string value = {};
};

class ClientDriver final : public os::StreamObserver, public os::Handler {
 public:
  // `on_end` is called once, after the last notice; it may post this host's destruction, not destroy it.
  ClientDriver(os::Reactor& reactor, ConnectOptions options, Handle handle, NoticeSink& sink,
               std::function<void()> on_end);
  ~ClientDriver() override;

  // One request an item, said together as far as the session's window allows. The notice that answers the
  // first carries the id `first`, the next one first + 1, and so on.
  void request(RequestId first, ClientOperation operation, const std::vector<ClientItem>& items);
  void spawn(RequestId id, const engine::SpawnRequest& spawn);
  void abort(std::int32_t exit_code, std::string_view message);
  void close();

 private:
  void open();
  void start();
  void connected(os::UniqueFd socket);
  void on_ready(std::uint32_t events) override;
  void on_bytes(os::Stream& stream, std::string_view bytes) override;
  void on_end(os::Stream& stream, int error) override;
  engine::RequestId ask(ClientOperation operation, const ClientItem& item);
  std::string server() const;  // for people
  void apply();
  void tell(engine::Answer answer, Answers& together);
  void tell(Answers& together);
  void fail(Payload reason);
  void cancel_timers();
  void stop_connecting();
  void finish();

  os::Reactor& reactor_;
  ConnectOptions options_;
  Handle handle_;
  NoticeSink& sink_;
  std::function<void()> on_end_;
  engine::ClientSession session_;
  engine::ClientEffects effects_;
  std::deque<std::pair<engine::RequestId, RequestId>>
      requests_;  // the session's id and the owner's, oldest first
  os::UniqueFd connecting_;
  std::unique_ptr<os::Stream> stream_;
  os::Reactor::TimerId timer_ = 0;  // the handshake's deadline
  os::Reactor::TimerId retry_ = 0;
  bool ended_ = false;
};

}  // namespace wireup::runtime
