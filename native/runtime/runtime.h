// Everything native that one Node environment has: the reactor thread, and the servers, launches, clients and
// name servers that live on it. The thread starts with the first handle.
//
// Threads: the public methods belong to the JavaScript thread. Only shutdown() waits for the reactor thread.
// They post work to it; its notices come through the outbox, in order, and end with a Closed for each handle.
// A method ignores a handle that is closed: its Closed is on the way.
//
// An exception on the reactor thread fails the handle that it was for: the handle gets an Error (a launch a
// LaunchResult) and Closed. The other handles go on. If the memory does not even suffice for that, or if the
// loop itself fails, every handle gets an Error and Closed. No exception leaves the thread.
#pragma once

#include <atomic>
#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "os/reactor.h"
#include "os/unique_function.h"
#include "runtime/client_driver.h"
#include "runtime/job_socket.h"
#include "runtime/launch_driver.h"
#include "runtime/name_client.h"
#include "runtime/name_server.h"
#include "runtime/outbox.h"
#include "runtime/reaper.h"
#include "runtime/server_driver.h"
#include "runtime/singleton.h"

namespace wireup::runtime {

struct ServerOptions {
  engine::ProcessGroupOptions group;
  ListenOptions listen;
  std::optional<wire::UnixAddress> name_server;
  wire::agent::TracePlan trace = {};
};

class Runtime final {
 public:
  // `wake` is called when the outbox turns non-empty, on any thread. It must not throw.
  explicit Runtime(std::function<void()> wake) : outbox_(std::move(wake)) {}
  ~Runtime() { shutdown(); }
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Outbox::Batch take(std::size_t most) { return outbox_.take(most); }
  // Sets which types of events of a server or launch are queued. Before the first call all are.
  void read_events(Handle handle, const Outbox::Types& types) { outbox_.read(handle, types); }

  // The following methods start the reactor thread if it does not run. They throw os::OsError,
  // std::system_error or std::bad_alloc if that fails; then there is no new handle.
  Handle open_server(ServerOptions options);
  Handle launch(LaunchOptions options);
  // Starts an agent ahead of the next launch that can use it. It replaces a prepared agent that no launch has
  // used. If the agent cannot be started, the launch will report that.
  void prepare_agent(AgentOptions options);
  Handle connect(ConnectOptions options);
  Handle open_name_server(ListenOptions options);
  // Answered by NamesListed or an Error, then Closed.
  Handle list_names(wire::UnixAddress address);

  // Makes a channel for the rank and returns the end that the rank's process is to inherit; the caller owns
  // it. Throws os::OsError. If the rank already has a connection, the server closes its end and reports a
  // `rejected` event.
  os::UniqueFd open_channel(Handle server, std::uint32_t rank);
  // Of a server or a launch.
  void status(Handle handle, RequestId request);
  // See LaunchDriver::inspect().
  void inspect(Handle launch, RequestId request, std::vector<std::uint32_t> ranks, bool stacks);
  // Answers a spawn that a rank of the server or launch has asked for. Of a launch, only to refuse it.
  void answer_spawn(Handle handle, engine::QueryId query, engine::SpawnAnswer answer);
  // Starts the process group that a rank of the launch has asked for: see LaunchDriver::spawn().
  void spawn(Handle launch, std::uint32_t number, SpawnOptions options);
  // The socket on which a job answers questions: JobQuestion, then AskerGone if the asker leaves early. An
  // Error if it cannot be made.
  Handle open_job_socket(std::vector<PrivateParent> parents);
  void answer_question(Handle socket, std::uint32_t connection, std::string text, bool last);
  // Of a PMI server, a name server or a job socket.
  void close_server(Handle server);

  void signal(Handle launch, std::int32_t signal, std::vector<std::uint32_t> ranks);
  void show_status(Handle launch, std::string line);
  void stop(Handle launch, std::chrono::milliseconds grace);

  void request(Handle client, RequestId first, ClientOperation operation, std::vector<ClientItem> items);
  void request_spawn(Handle client, RequestId id, engine::SpawnRequest spawn);
  void abort(Handle client, std::int32_t exit_code, std::string message);
  void close_client(Handle client);

  // Ends every job without grace, closes everything and joins the reactor thread. Waits a few milliseconds
  // for agents that work, at most about 3 seconds for others. There are no notices afterwards.
  void shutdown() noexcept;

 private:
  using WithNames = os::UniqueFunction<void(NameClient*)>;

  // An event of its own, so that shutdown() needs no memory to reach the reactor thread.
  struct StopRequest final : os::Handler {
    explicit StopRequest(Runtime& owner);  // throws os::OsError
    void send() const noexcept;
    void on_ready(std::uint32_t events) override;

    Runtime& runtime;
    os::UniqueFd event;
  };

  void start_thread();
  void post(Handle handle, os::Reactor::Function function);
  Handle open(os::Reactor::Clock::time_point begin, os::UniqueFunction<void(Handle)> function);
  void drop(Handle handle);
  void drop_later(Handle handle);
  void drop_all() noexcept;
  void fail(Handle handle, const std::exception_ptr& failure, const char* code);
  void fail(Handle handle, Error error);
  void run(os::Reactor& reactor) noexcept;
  void stop_now();
  void stop_if_idle();
  void failed(os::Reactor::Owner owner, const std::exception_ptr& failure);
  template <typename Start>
  void start(Handle handle, const char* code, Start start);
  void with_names(Handle handle, const std::optional<wire::UnixAddress>& address, std::string kvsname,
                  WithNames then);
  void join_singleton(Handle handle, LaunchOptions options, NameClient* names);
  void start_launch(Handle handle, LaunchOptions options, NameClient* names, os::UniqueFd singleton);
  void list_page(Handle handle, NamesListed listed);
  bool is_prepared(const AgentOptions& options) const;
  std::unique_ptr<AgentLink> take_prepared(Handle handle, const LaunchOptions& options);

  Outbox outbox_;
  std::unique_ptr<os::Reactor> reactor_;
  std::unique_ptr<StopRequest> stop_request_;
  std::thread thread_;
  Handle last_handle_ = 0;
  bool shut_down_ = false;
  std::atomic<bool> ended_ = false;  // the loop has failed for good

  // The following members belong to the reactor thread.
  bool stop_requested_ = false;
  bool stopping_ = false;
  std::unique_ptr<Reaper> reaper_;  // from start_thread() on
  // Agents that were started ahead have reactor owners of their own: the launches that use them now.
  std::unordered_map<os::Reactor::Owner, Handle> owners_;
  os::Reactor::Owner prepared_owner_ = 0;
  std::unordered_map<Handle, std::unique_ptr<NameServer>> name_servers_;
  std::unordered_map<Handle, std::unique_ptr<JobSocket>> job_sockets_;
  // By the handle of the server or launch that uses the client.
  std::unordered_map<Handle, std::unique_ptr<NameClient>> name_clients_;
  std::unordered_map<Handle, std::unique_ptr<ServerDriver>> servers_;
  AgentOptions prepared_options_;
  std::unique_ptr<AgentLink> prepared_agent_;
  std::unordered_map<Handle, std::unique_ptr<SingletonJoin>> joins_;
  std::unordered_map<Handle, std::unique_ptr<LaunchDriver>> launches_;
  std::unordered_map<Handle, std::unique_ptr<ClientDriver>> clients_;
};

}  // namespace wireup::runtime
