// What the addon calls: each call is carried out on the reactor thread.
#include <unistd.h>

#include <stdexcept>
#include <utility>

#include "os/error.h"
#include "runtime/addresses.h"
#include "runtime/runtime.h"

namespace wireup::runtime {
namespace {

std::vector<std::string> own_environment() {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) result.emplace_back(*entry);
  return result;
}

void complete(AgentOptions& options) {
  options.environment = own_environment();
  options.inherited_context = os::inherited_context();
}

template <typename Map>
auto* find(Map& map, Handle handle) {
  const auto found = map.find(handle);
  return found == map.end() ? nullptr : found->second.get();
}

}  // namespace

// Runs what starts `handle`. `code` is for a system call that fails in it.
template <typename Start>
void Runtime::start(Handle handle, const char* code, Start start) {
  try {
    start();
  } catch (...) {
    fail(handle, std::current_exception(), code);
  }
}

// Name servers

// Calls `then` when the name server has answered, or at once with null if there is none.
void Runtime::with_names(Handle handle, const std::optional<wire::UnixAddress>& address, std::string kvsname,
                         WithNames then) {
  if (!address) return then(nullptr);
  NameClient* client =
      name_clients_.emplace(handle, std::make_unique<NameClient>(*reactor_, *address, std::move(kvsname)))
          .first->second.get();
  client->open(
      [this, handle, client, then = std::move(then)](std::optional<Error> error) mutable {
        if (stopping_ || !outbox_.is_open(handle)) return;
        if (error) return fail(handle, *std::move(error));
        then(client);
      },
      [this, handle] { outbox_.notify(handle, NamesLost{}); });
}

Handle Runtime::open_name_server(ListenOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) {
    start(handle, "ERR_PMI_LISTEN", [&] {
      const auto on_refusal = [this, handle](engine::Peer peer, std::string reason) {
        engine::Event event{.type = engine::EventType::rejected};
        event.message = std::move(reason);
        event.peer = std::move(peer);
        outbox_.tell(handle, event);
      };
      auto server = std::make_unique<NameServer>(*reactor_, options, on_refusal);
      outbox_.notify(handle, ServerOpened{wire::to_uri(server->address()), {}});
      name_servers_.emplace(handle, std::move(server));
    });
  });
}

Handle Runtime::list_names(wire::UnixAddress address) {
  return open(os::Reactor::Clock::now(), [this, address = std::move(address)](Handle handle) {
    with_names(handle, address, {}, [this, handle](NameClient*) { list_page(handle, {}); });
  });
}

void Runtime::list_page(Handle handle, NamesListed listed) {
  const std::string after = listed.rows.empty() ? std::string() : listed.rows.back().service;
  find(name_clients_, handle)
      ->list(after, [this, handle, listed = std::move(listed)](const wire::names::Page* page) mutable {
        if (page == nullptr)
          return fail(handle, Error{"ERR_PMI_NAME_SERVER", "the name server has gone", ECONNRESET});
        listed.rows.insert(listed.rows.end(), page->rows.begin(), page->rows.end());
        if (!page->last) return list_page(handle, std::move(listed));
        outbox_.notify(handle, std::move(listed));
        outbox_.close(handle);
        drop_later(handle);
      });
}

// Job sockets

Handle Runtime::open_job_socket(std::vector<PrivateParent> parents) {
  return open(os::Reactor::Clock::now(), [this, parents = std::move(parents)](Handle handle) {
    start(handle, "ERR_PMI_LISTEN", [&] {
      auto on_question = [this, handle](JobSocket::ConnectionId connection, std::string question) {
        outbox_.notify(handle, JobQuestion{connection, std::move(question)});
      };
      auto on_gone = [this, handle](JobSocket::ConnectionId connection) {
        outbox_.notify(handle, AskerGone{connection});
      };
      job_sockets_.emplace(handle, std::make_unique<JobSocket>(*reactor_, parents, std::move(on_question),
                                                               std::move(on_gone)));
    });
  });
}

void Runtime::answer_question(Handle socket, std::uint32_t connection, std::string text, bool last) {
  post(socket, [this, socket, connection, text = std::move(text), last] {
    if (JobSocket* asked = find(job_sockets_, socket)) asked->reply(connection, text, last);
  });
}

// PMI servers

Handle Runtime::open_server(ServerOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) mutable {
    const std::optional<wire::UnixAddress> name_server = options.name_server;
    std::string kvsname = options.group.kvsname;
    auto listen = [this, handle, options = std::move(options)](NameClient* names) {
      start(handle, "ERR_PMI_LISTEN", [&] {
        const bool on_other_machines = !options.group.auth.allowed_hosts.empty();
        ServerCallbacks callbacks;
        callbacks.on_event = [this, handle](const engine::Event& event) { outbox_.tell(handle, event); };
        callbacks.on_spawn_query = [this, handle](engine::SpawnQuery query) {
          outbox_.notify(handle, std::move(query));
        };
        if (names != nullptr) {
          callbacks.on_name_query = [this, handle, names](engine::NameQuery query) {
            names->ask(std::move(query.request),
                       [this, handle, id = query.id](const engine::NameAnswer& answer) {
                         if (ServerDriver* asked = find(servers_, handle)) asked->answer_name(id, answer);
                       });
          };
        }
        Traced traced;
        if (options.trace.on) {
          traced.trace = std::make_shared<Trace>(
              *reactor_, options.trace, std::string(),
              TraceReceiver{[this, handle](TraceLines lines) { outbox_.notify(handle, std::move(lines)); }});
        }
        auto server = std::make_unique<ServerDriver>(*reactor_, options.group, options.listen,
                                                     std::move(callbacks), traced);
        ServerOpened opened;
        if (server->address()) {
          opened = {wire::to_uri(*server->address()),
                    pmi_port_for_ranks(*server->address(), on_other_machines)};
        }
        servers_.emplace(handle, std::move(server));
        outbox_.notify(handle, std::move(opened));
      });
    };
    with_names(handle, name_server, std::move(kvsname), std::move(listen));
  });
}

os::UniqueFd Runtime::open_channel(Handle server, std::uint32_t rank) {
  os::FdPair pair = os::stream_pair();
  os::set_nonblocking(pair.second.get(), false);
  post(server, [this, server, rank, end = std::move(pair.first)]() mutable {
    ServerDriver* driver = find(servers_, server);
    if (driver == nullptr) return;
    try {
      driver->adopt_channel(rank, std::move(end));
    } catch (const std::exception& refusal) {
      driver->reject_channel(rank, describe(refusal));
    }
  });
  return std::move(pair.second);
}

void Runtime::close_server(Handle server) {
  post(server, [this, server] {
    if (ServerDriver* driver = find(servers_, server)) driver->finish_trace();
    if (servers_.erase(server) + name_servers_.erase(server) + job_sockets_.erase(server) == 0) return;
    name_clients_.erase(server);
    outbox_.close(server);
  });
}

// Launches

Handle Runtime::launch(LaunchOptions options) {
  complete(options.agent);
  const auto begin = options.begin;
  return open(begin, [this, options = std::move(options)](Handle handle) mutable {
    const std::optional<wire::UnixAddress> name_server = options.name_server;
    std::string kvsname = options.group.group.kvsname;
    with_names(handle, name_server, std::move(kvsname),
               [this, handle, options = std::move(options)](NameClient* names) mutable {
                 join_singleton(handle, std::move(options), names);
               });
  });
}

// Starts the launch when it has the connection of its singleton, if it has one.
void Runtime::join_singleton(Handle handle, LaunchOptions options, NameClient* names) {
  if (!options.singleton) return start_launch(handle, std::move(options), names, {});
  start(handle, "ERR_PMI_LAUNCH", [&] {
    const std::uint16_t port = options.singleton->port;
    std::string kvsname = options.group.group.kvsname;
    auto on_joined = [this, handle, names,
                      options = std::move(options)](SingletonJoin::Result result) mutable {
      if (result.failure) return fail(handle, result.failure, "ERR_PMI_LAUNCH");
      start_launch(handle, std::move(options), names, std::move(result.connection));
    };
    joins_.emplace(
        handle, std::make_unique<SingletonJoin>(*reactor_, port, std::move(kvsname), std::move(on_joined)));
  });
}

void Runtime::start_launch(Handle handle, LaunchOptions options, NameClient* names, os::UniqueFd singleton) {
  start(handle, "ERR_PMI_LAUNCH", [&] {
    std::unique_ptr<AgentLink> agent = take_prepared(handle, options);
    auto on_end = [this, handle] {
      outbox_.close(handle);
      drop_later(handle);
    };
    launches_.emplace(handle,
                      std::make_unique<LaunchDriver>(LaunchDriver::Parts{.reactor = *reactor_,
                                                                         .reaper = *reaper_,
                                                                         .sink = outbox_,
                                                                         .handle = handle,
                                                                         .agent = std::move(agent),
                                                                         .names = names,
                                                                         .singleton = std::move(singleton)},
                                                     std::move(options), std::move(on_end)));
  });
}

void Runtime::prepare_agent(AgentOptions options) {
  complete(options);
  // A reactor owner of its own: no handle has that number.
  const Handle owner = ++last_handle_;
  post(owner, [this, owner, options = std::move(options)]() mutable {
    if (is_prepared(options)) return;
    prepared_agent_.reset();
    prepared_owner_ = owner;
    try {
      prepared_agent_ = std::make_unique<AgentLink>(*reactor_, *reaper_, options);
      prepared_options_ = std::move(options);
    } catch (const std::exception&) {
      // The launch will report it.
    }
  });
}

// The agent's environment does not matter: programs have environments of their own.
bool Runtime::is_prepared(const AgentOptions& options) const {
  return prepared_agent_ && prepared_agent_->alive() && prepared_options_.path == options.path &&
         prepared_options_.inherited_context == options.inherited_context;
}

std::unique_ptr<AgentLink> Runtime::take_prepared(Handle handle, const LaunchOptions& options) {
  const bool fits = is_prepared(options.agent) && !options.pipes.out && !options.pipes.err;
  if (!fits) return nullptr;
  owners_.emplace(prepared_owner_, handle);
  prepared_owner_ = 0;
  return std::move(prepared_agent_);
}

void Runtime::spawn(Handle launch, std::uint32_t number, SpawnOptions options) {
  post(launch, [this, launch, number, options = std::move(options)]() mutable {
    if (LaunchDriver* driver = find(launches_, launch)) driver->spawn(number, std::move(options));
  });
}

void Runtime::signal(Handle launch, std::int32_t signal, std::vector<std::uint32_t> ranks) {
  post(launch, [this, launch, signal, ranks = std::move(ranks)] {
    if (LaunchDriver* driver = find(launches_, launch)) driver->signal(signal, ranks);
  });
}

void Runtime::show_status(Handle launch, std::string line) {
  post(launch, [this, launch, line = std::move(line)] {
    if (LaunchDriver* driver = find(launches_, launch)) driver->show_status(line);
  });
}

void Runtime::inspect(Handle launch, RequestId request, std::vector<std::uint32_t> ranks, bool stacks) {
  post(launch, [this, launch, request, ranks = std::move(ranks), stacks] {
    if (LaunchDriver* driver = find(launches_, launch)) driver->inspect(request, ranks, stacks);
  });
}

void Runtime::stop(Handle launch, std::chrono::milliseconds grace) {
  post(launch, [this, launch, grace] {
    if (LaunchDriver* driver = find(launches_, launch)) driver->stop(grace);
  });
}

// Servers and launches

void Runtime::status(Handle handle, RequestId request) {
  post(handle, [this, handle, request] {
    if (const ServerDriver* server = find(servers_, handle)) {
      const engine::ProcessGroup& group = server->group();
      StatusReply reply{request,
                        {{0, group.status()}},
                        {group.counters(), group.barrier().number(), group.space_used(), reactor_->turns()}};
      outbox_.notify(handle, std::make_unique<StatusReply>(std::move(reply)));
    } else if (LaunchDriver* launch = find(launches_, handle)) {
      launch->query_status(request);
    }
  });
}

void Runtime::answer_spawn(Handle handle, engine::QueryId query, engine::SpawnAnswer answer) {
  post(handle, [this, handle, query, answer = std::move(answer)] {
    if (ServerDriver* server = find(servers_, handle)) {
      server->answer_spawn(query, answer);
    } else if (LaunchDriver* launch = find(launches_, handle)) {
      launch->answer_spawn(query, answer);
    }
  });
}

// Clients

Handle Runtime::connect(ConnectOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) {
    // The client may end while it is being made. It is dropped later, when it is in the map.
    clients_.emplace(handle, std::make_unique<ClientDriver>(*reactor_, options, handle, outbox_,
                                                            [this, handle] { drop_later(handle); }));
  });
}

void Runtime::request(Handle client, RequestId first, ClientOperation operation,
                      std::vector<ClientItem> items) {
  post(client, [this, client, first, operation, items = std::move(items)] {
    if (ClientDriver* driver = find(clients_, client)) driver->request(first, operation, items);
  });
}

void Runtime::request_spawn(Handle client, RequestId id, engine::SpawnRequest spawn) {
  post(client, [this, client, id, spawn = std::move(spawn)] {
    if (ClientDriver* driver = find(clients_, client)) driver->spawn(id, spawn);
  });
}

void Runtime::abort(Handle client, std::int32_t exit_code, std::string message) {
  post(client, [this, client, exit_code, message = std::move(message)] {
    if (ClientDriver* driver = find(clients_, client)) driver->abort(exit_code, message);
  });
}

void Runtime::close_client(Handle client) {
  post(client, [this, client] {
    if (ClientDriver* driver = find(clients_, client)) driver->close();
  });
}

}  // namespace wireup::runtime
