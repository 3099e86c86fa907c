// A PMI client: a connection that feeds an engine::ClientSession.
//
// Notices go to `sink` under `handle`: Ready, an Answer for each request (or Answers for several that have
// succeeded), Failed or Error if the connection can no longer be used, and Closed at the end.
//
// Threads: the reactor's.
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
  int fd = -1;  // an inherited PMI_FD, which the driver owns if it is a socket; -1: use `address`
  std::optional<wire::Address> address;  // a TCP host must be numeric
  std::chrono::milliseconds timeout{0};  // from connect() to the end of the handshake; 0: none
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
  wait_node_attribute,  // answered when the attribute has been put
  get_job_attribute,
  finalize
};

// The operands of one request: a key, a service or a barrier group, and a value or a port. An operation may
// have fewer.
struct ClientItem {
  std::string key = {};
  std::string value = {};
};

class ClientDriver final : public os::StreamObserver, public os::Handler {
 public:
  // `on_end` is called once, after the last notice. It may post the destruction of the driver but must not
  // destroy it.
  ClientDriver(os::Reactor& reactor, ConnectOptions options, Handle handle, NoticeSink& sink,
               std::function<void()> on_end);
  ~ClientDriver() override;

  // Makes one request for each item, and sends as many together as the session's window allows. The answer to
  // the first has the id `first`, the answer to the second `first + 1`, and so on.
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
      requests_;  // the session's id and the caller's, oldest first
  os::UniqueFd connecting_;
  std::unique_ptr<os::Stream> stream_;
  os::Reactor::TimerId timer_ = 0;  // the handshake's deadline
  os::Reactor::TimerId retry_ = 0;
  bool ended_ = false;
};

}  // namespace wireup::runtime
