// Everything native that one owner (a Node environment) has: the reactor thread, started with the first
// handle, and the servers, launches, clients and name servers that live on it.
//
// Threads: the public methods belong to the owner's thread and never wait for the reactor, but for
// shutdown(). They post to the reactor; what comes of it is told through the outbox, in order, ending with
// Closed for each handle. A handle that is not known (any more) is ignored: its Closed is on its way.
//
// What throws on the reactor thread fails the handle that it was for: a Error (for a launch its
// LaunchResult), Closed. The others go on.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "os/reactor.h"
#include "runtime/client_driver.h"
#include "runtime/launch_driver.h"
#include "runtime/name_client.h"
#include "runtime/name_server.h"
#include "runtime/outbox.h"
#include "runtime/server_driver.h"

namespace wireup::runtime {

struct ServerOptions {
  engine::ProcessGroupOptions group;
  ListenOptions listen;
  std::optional<wire::UnixAddress> name_server;
};

class Runtime final : NoticeSink {
 public:
  // `wake` is called on the reactor thread when the outbox turns non-empty.
  explicit Runtime(std::function<void()> wake);
  ~Runtime() override;  // shutdown()

  Outbox::Batch take(std::size_t most) { return outbox_.take(most); }
  // The types of events that the owner reads of a server or launch; all, until it says so.
  void read_events(Handle handle, const Outbox::Types& types) { outbox_.read(handle, types); }

  // Each starts the reactor thread if need be. Throws os::OsError or std::system_error when that fails.
  Handle open_server(ServerOptions options);
  Handle launch(LaunchOptions options);
  // Starts an agent for the next launch that can use it, ahead of that; it takes the place of the last one,
  // where that is another that no launch has used. Where it cannot be started, the launch will say so.
  void prepare_agent(AgentOptions options);
  Handle connect(ConnectOptions options);
  Handle open_name_server(ListenOptions options);
  // NamesListed, or a Error; then Closed.
  Handle list_names(wire::UnixAddress address);

  // The end of a new channel that the child of `rank` is to inherit; the caller owns it. Throws os::OsError.
  // When the rank has a connection already, the channel is closed at the other end, and a `rejected` event
  // says so.
  os::UniqueFd open_channel(Handle server, std::uint32_t rank);
  // Of a server or a launch.
  void status(Handle handle, RequestId request);
  // The answer to a spawn that a rank of the server, or of a launch's group, has asked for; of a launch one
  // that says why not.
  void answer_spawn(Handle handle, Spawner spawner, engine::SpawnAnswer answer);
  // Of a launch, the answer that starts a group: LaunchDriver::start_process().
  void spawn(Handle launch, std::uint32_t number, SpawnOptions options);
  // Of a PMI server or a name server.
  void close_server(Handle server);

  void signal(Handle launch, std::int32_t signal, std::vector<std::uint32_t> ranks);
  void show_status(Handle launch, std::string line);
  void stop(Handle launch, std::chrono::milliseconds grace);

  void request(Handle client, RequestId first, ClientOperation operation, std::vector<ClientItem> items);
  void request_spawn(Handle client, RequestId id, engine::SpawnRequest spawn);
  void abort(Handle client, std::int32_t exit_code, std::string message);
  void close_client(Handle client);

  // Ends every job without grace, closes everything and joins the reactor. Nothing is told any more.
  void shutdown();

 private:
  void notify(Handle handle, Payload payload, std::uint32_t group = 0) override;
  void tell(Handle handle, const engine::Event& event, std::uint32_t group = 0) override;
  void post(Handle handle, std::function<void()> function);
  Handle open(os::Reactor::Clock::time_point begin, std::function<void(Handle handle)> function);
  void drop(Handle handle);
  void fail(Handle handle, Error fault);
  void run(os::Reactor& reactor);
  void failed(os::Reactor::Owner owner, const std::exception_ptr& failure);
  void start(Handle handle, const char* code, const std::function<void()>& function);
  void with_names(Handle handle, const std::optional<wire::UnixAddress>& address, std::string kvsname,
                  std::function<void(NameClient*)> then);
  void list_page(Handle handle, NamesListed listed);
  bool is_prepared(const AgentOptions& options) const;
  std::unique_ptr<AgentLink> take_prepared(Handle handle, const LaunchOptions& options);

  Outbox outbox_;
  std::unique_ptr<os::Reactor> reactor_;
  std::thread thread_;
  Handle last_handle_ = 0;
  bool shut_down_ = false;

  // Owned by the reactor thread.
  bool stopping_ = false;
  std::unordered_set<Handle> open_;  // those whose Closed has not been told
  std::unordered_map<os::Reactor::Owner, Handle>
      owners_;  // of agents that were started ahead, the launches that have them
  os::Reactor::Owner prepared_owner_ = 0;
  std::unordered_map<Handle, std::unique_ptr<NameServer>> name_servers_;
  std::unordered_map<Handle, std::unique_ptr<NameClient>>
      name_clients_;  // of the server or launch of that handle
  std::unordered_map<Handle, std::unique_ptr<ServerDriver>> servers_;
  AgentOptions prepared_options_;
  std::unique_ptr<AgentLink> prepared_agent_;
  std::unordered_map<Handle, std::unique_ptr<LaunchDriver>> launches_;
  std::unordered_map<Handle, std::unique_ptr<ClientDriver>> clients_;
};

}  // namespace wireup::runtime
