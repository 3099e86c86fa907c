// Everything native that one owner (a Node environment) has: the reactor thread, started with the first handle,
// and the servers, launches and clients that live on it.
//
// Threads: the public methods belong to the owner's thread and never wait for the reactor, but for shutdown().
// They post to the reactor; what comes of it is told through the outbox, in order, ending with Closed for each
// handle. A handle that is not known (any more) is ignored: its Closed is on its way.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "host/client_host.h"
#include "host/launch_host.h"
#include "host/outbox.h"
#include "host/server_host.h"
#include "os/reactor.h"

namespace wireup::host {

struct ServerOptions {
  job::JobOptions job;
  ListenOptions listen;
};

class Runtime {
 public:
  // `wake` is called on the reactor thread when the outbox turns non-empty.
  explicit Runtime(std::function<void()> wake);
  ~Runtime();  // shutdown()

  std::vector<Notice> take() { return outbox_.take(); }

  // Each starts the reactor thread if need be. Throws os::OsError or std::system_error when that fails.
  Handle open_server(ServerOptions options);
  Handle launch(LaunchOptions options);
  Handle connect(ConnectOptions options);

  // The end of a new channel that the child of `rank` is to inherit; the caller owns it. Throws os::OsError. When
  // the rank has a connection already, the channel is closed at the other end, and a `rejected` event says so.
  os::UniqueFd open_channel(Handle server, std::uint32_t rank);
  // Of a server or a launch.
  void status(Handle handle, RequestId request);
  // The answer to a question of the server, or of a launch's group: one that says why not.
  void answer_spawn(Handle handle, Spawner spawner, job::SpawnAnswer answer);
  // Of a launch, the answer that starts a group: LaunchHost::spawn().
  void spawn(Handle launch, std::uint32_t number, SpawnOptions options);
  void close_server(Handle server);

  void signal(Handle launch, std::int32_t signal, std::vector<std::uint32_t> ranks);
  void show_status(Handle launch, std::string line);
  void stop(Handle launch, std::chrono::milliseconds grace);

  void request(Handle client, RequestId first, ClientOperation operation, std::vector<ClientItem> items);
  void abort(Handle client, std::int32_t exit_code, std::string message);
  void close_client(Handle client);

  // Ends every job without grace, closes everything and joins the reactor. Nothing is told any more.
  void shutdown();

 private:
  void post(std::function<void()> function);
  void drop(Handle handle);

  Outbox outbox_;
  std::unique_ptr<os::Reactor> reactor_;
  std::thread thread_;
  Handle last_handle_ = 0;
  bool shut_down_ = false;

  // Owned by the reactor thread.
  bool stopping_ = false;
  std::unordered_map<Handle, std::unique_ptr<ServerHost>> servers_;
  std::unordered_map<Handle, std::unique_ptr<LaunchHost>> launches_;
  std::unordered_map<Handle, std::unique_ptr<ClientHost>> clients_;
};

}  // namespace wireup::host
