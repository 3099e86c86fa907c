#include "runtime/runtime.h"

#include <unistd.h>

#include <stdexcept>

#include "os/error.h"
#include "os/limits.h"
#include "os/thread.h"
#include "runtime/addresses.h"

namespace wireup::runtime {
namespace {

// An agent ends its job at once when its socket closes. One that has not done so by then is killed.
constexpr std::chrono::seconds kAgentTimeout{2};

// The error of a system call as the owner is told it: the codes that a user can act on have names of their
// own.
Error to_error(const os::OsError& error, const char* code) {
  const int number = error.code().value();
  Error fault{code, error.what(), number, error.syscall()};
  if (error.syscall() == "bind" && number == EADDRINUSE) fault.code = "ERR_PMI_ADDRESS_IN_USE";
  if (number == ENAMETOOLONG) fault.code = "ERR_PMI_ADDRESS";
  if (number == EMFILE) {
    fault.code = "ERR_PMI_FD_LIMIT";
    fault.message += "; the limit is " + std::to_string(os::fd_limit().soft) + ": raise it with `ulimit -n`";
  }
  return fault;
}

Error to_error(const std::exception_ptr& failure, const char* code) {
  try {
    std::rethrow_exception(failure);
  } catch (const os::OsError& error) {
    return to_error(error, code);
  } catch (const Error& fault) {
    return fault;
  } catch (const std::invalid_argument& error) {
    return {"ERR_PMI_OPTION", error.what()};
  } catch (const std::exception& error) {
    return {"ERR_PMI_INTERNAL", error.what()};
  } catch (...) {
    return {"ERR_PMI_INTERNAL", "an unknown exception"};
  }
}

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

Runtime::Runtime(std::function<void()> wake) : outbox_(std::move(wake)) {}

Runtime::~Runtime() { shutdown(); }

// What has failed may go on for the rest of a turn: Closed is the last all the same.
void Runtime::notify(Handle handle, Payload payload, std::uint32_t group) {
  if (!open_.contains(handle)) return;
  if (std::holds_alternative<Closed>(payload)) open_.erase(handle);
  outbox_.notify(handle, std::move(payload), group);
}

void Runtime::tell(Handle handle, const engine::Event& event, std::uint32_t group) {
  if (open_.contains(handle)) outbox_.tell(handle, event, group);
}

// `handle` is the owner of the function; 0: it has none.
void Runtime::post(Handle handle, std::function<void()> function) {
  if (shut_down_) return;
  if (!reactor_) {
    auto reactor = std::make_unique<os::Reactor>();
    reactor->on_failure(
        [this](os::Reactor::Owner owner, const std::exception_ptr& failure) { failed(owner, failure); });
    thread_ = os::start_thread("wireup-reactor", [this, reactor = reactor.get()] { run(*reactor); });
    reactor_ = std::move(reactor);
  }
  reactor_->post(handle, std::move(function));
}

// `function` makes what the new handle stands for, whose time begins at `begin`.
Handle Runtime::open(os::Reactor::Clock::time_point begin, std::function<void(Handle handle)> function) {
  const Handle handle = ++last_handle_;
  outbox_.begin(handle, begin);
  post(handle, [this, handle, function = std::move(function)] {
    open_.insert(handle);
    function(handle);
  });
  return handle;
}

void Runtime::drop(Handle handle) {
  servers_.erase(handle);
  name_servers_.erase(handle);
  launches_.erase(handle);
  clients_.erase(handle);
  name_clients_.erase(handle);
  reactor_->forget(handle);
  std::erase_if(owners_, [&](const auto& entry) {
    if (entry.second != handle) return false;
    reactor_->forget(entry.first);
    return true;
  });
  if (stopping_ && launches_.empty()) reactor_->stop();
}

void Runtime::fail(Handle handle, Error fault) {
  notify(handle, std::move(fault));
  notify(handle, Closed{});
  // Not at once: it may be a name client that calls us.
  reactor_->post(0, [this, handle] { drop(handle); });
}

void Runtime::failed(os::Reactor::Owner owner, const std::exception_ptr& failure) {
  if (owner == prepared_owner_) {
    // The launch starts another.
    reactor_->post(0, [this, owner] {
      if (owner == prepared_owner_) prepared_agent_.reset();
      reactor_->forget(owner);
    });
    return;
  }
  const auto known = owners_.find(owner);
  const Handle handle = known == owners_.end() ? static_cast<Handle>(owner) : known->second;
  reactor_->post(0, [this, handle] { drop(handle); });
  if (!open_.contains(handle)) return;
  Error fault = to_error(failure, "ERR_PMI_INTERNAL");
  if (LaunchDriver* launch = find(launches_, handle)) {
    try {
      return launch->give_up("inside wireup: " + fault.message);
    } catch (const std::exception&) {
      // It has no result then.
    }
  }
  fail(handle, std::move(fault));
}

// Where the loop itself fails, no handle can be served any more.
void Runtime::run(os::Reactor& reactor) {
  for (;;) {
    try {
      return reactor.run();
    } catch (...) {
      if (open_.empty()) return;
      const std::unordered_set<Handle> open = open_;
      for (const Handle handle : open) failed(handle, std::current_exception());
    }
  }
}

// What starts `handle`; `code` is that of a system call that fails in it.
void Runtime::start(Handle handle, const char* code, const std::function<void()>& function) {
  try {
    function();
  } catch (...) {
    fail(handle, to_error(std::current_exception(), code));
  }
}

// Goes on when the name server has answered, or at once with null where there is none.
void Runtime::with_names(Handle handle, const std::optional<wire::UnixAddress>& address, std::string kvsname,
                         std::function<void(NameClient*)> then) {
  if (!address) return then(nullptr);
  NameClient* client =
      name_clients_.emplace(handle, std::make_unique<NameClient>(*reactor_, *address, std::move(kvsname)))
          .first->second.get();
  client->open(
      [this, handle, client, then = std::move(then)](std::optional<Error> fault) {
        if (stopping_) return;
        if (fault) return fail(handle, *std::move(fault));
        then(client);
      },
      [this, handle] { notify(handle, NamesLost{}); });
}

Handle Runtime::open_server(ServerOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) {
    const std::string kvsname = options.group.kvsname;
    with_names(handle, options.name_server, kvsname, [this, handle, options](NameClient* names) {
      start(handle, "ERR_PMI_LISTEN", [&] {
        const bool on_other_machines = !options.group.auth.allowed_hosts.empty();
        auto server = std::make_unique<ServerDriver>(
            *reactor_, options.group, options.listen,
            [this, handle](const engine::Event& event) { tell(handle, event); },
            [this, handle](engine::SpawnQuery query) { notify(handle, std::move(query)); }, names);
        ServerOpened opened;
        if (server->address()) {
          opened = {wire::to_uri(*server->address()),
                    pmi_port_for_ranks(*server->address(), on_other_machines)};
        }
        servers_.emplace(handle, std::move(server));
        notify(handle, std::move(opened));
      });
    });
  });
}

Handle Runtime::launch(LaunchOptions options) {
  complete(options.agent);
  const auto begin = options.begin;
  return open(begin, [this, options = std::move(options)](Handle handle) {
    const std::string kvsname = options.group.group.kvsname;
    with_names(handle, options.name_server, kvsname, [this, handle, options](NameClient* names) {
      start(handle, "ERR_PMI_LAUNCH", [&] {
        launches_.emplace(handle, std::make_unique<LaunchDriver>(
                                      *reactor_, options, handle, static_cast<NoticeSink&>(*this),
                                      [this, handle] {
                                        notify(handle, Closed{});
                                        reactor_->post([this, handle] { drop(handle); });
                                      },
                                      take_prepared(handle, options), names));
      });
    });
  });
}

void Runtime::prepare_agent(AgentOptions options) {
  complete(options);
  // An owner of its own: no handle has that number.
  const Handle owner = ++last_handle_;
  post(owner, [this, owner, options = std::move(options)] {
    if (is_prepared(options)) return;
    prepared_agent_.reset();
    prepared_owner_ = owner;
    try {
      prepared_agent_ = std::make_unique<AgentLink>(*reactor_, options);
      prepared_options_ = options;
    } catch (const os::OsError&) {
      // The launch will tell.
    }
  });
}

// Its environment does not matter: programs have their own.
bool Runtime::is_prepared(const AgentOptions& options) const {
  return prepared_agent_ && prepared_agent_->alive() && prepared_options_.path == options.path &&
         prepared_options_.inherited_context == options.inherited_context;
}

std::unique_ptr<AgentLink> Runtime::take_prepared(Handle handle, const LaunchOptions& options) {
  const bool fits = is_prepared(options.agent) && !options.pipes->out && !options.pipes->err;
  if (!fits) return nullptr;
  owners_.emplace(std::exchange(prepared_owner_, 0), handle);
  return std::move(prepared_agent_);
}

Handle Runtime::open_name_server(ListenOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) {
    start(handle, "ERR_PMI_LISTEN", [&] {
      auto server = std::make_unique<NameServer>(*reactor_, options,
                                                 [this, handle](engine::Peer peer, std::string reason) {
                                                   engine::Event event{.type = engine::EventType::rejected};
                                                   event.message = std::move(reason);
                                                   event.peer = std::move(peer);
                                                   tell(handle, event);
                                                 });
      notify(handle, ServerOpened{wire::to_uri(server->address()), {}});
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
        notify(handle, std::move(listed));
        notify(handle, Closed{});
        reactor_->post([this, handle] { drop(handle); });
      });
}

Handle Runtime::connect(ConnectOptions options) {
  return open(os::Reactor::Clock::now(), [this, options = std::move(options)](Handle handle) {
    // The end may come while the client is being made; dropping is posted, so it finds the client in its
    // place.
    clients_.emplace(handle, std::make_unique<ClientDriver>(
                                 *reactor_, options, handle, static_cast<NoticeSink&>(*this),
                                 [this, handle] { reactor_->post([this, handle] { drop(handle); }); }));
  });
}

os::UniqueFd Runtime::open_channel(Handle server, std::uint32_t rank) {
  os::FdPair pair = os::stream_pair();
  os::set_nonblocking(pair.second.get(), false);
  // std::function copies what it holds, so the fd travels in a shared box.
  auto end = std::make_shared<os::UniqueFd>(std::move(pair.first));
  post(server, [this, server, rank, end] {
    ServerDriver* host = find(servers_, server);
    if (host == nullptr) return;
    try {
      host->adopt_channel(rank, std::move(*end));
    } catch (const std::exception& refusal) {
      host->reject_channel(rank, refusal.what());
    }
  });
  return std::move(pair.second);
}

void Runtime::status(Handle handle, RequestId request) {
  post(handle, [this, handle, request] {
    if (const ServerDriver* server = find(servers_, handle)) {
      notify(handle, StatusReply{request, {{0, server->group().status()}}});
    } else if (const LaunchDriver* launch = find(launches_, handle)) {
      notify(handle, StatusReply{request, launch->status()});
    }
  });
}

void Runtime::answer_spawn(Handle handle, Spawner spawner, engine::SpawnAnswer answer) {
  post(handle, [this, handle, spawner = std::move(spawner), answer = std::move(answer)] {
    if (ServerDriver* server = find(servers_, handle)) {
      server->answer_spawn(spawner.query, answer);
    } else if (LaunchDriver* launch = find(launches_, handle)) {
      launch->answer_spawn(spawner, answer);
    }
  });
}

void Runtime::spawn(Handle launch, std::uint32_t number, SpawnOptions options) {
  post(launch, [this, launch, number, options = std::move(options)]() mutable {
    if (LaunchDriver* host = find(launches_, launch)) host->spawn(number, std::move(options));
  });
}

void Runtime::close_server(Handle server) {
  post(server, [this, server] {
    if (servers_.erase(server) + name_servers_.erase(server) == 0) return;
    name_clients_.erase(server);
    notify(server, Closed{});
  });
}

void Runtime::signal(Handle launch, std::int32_t signal, std::vector<std::uint32_t> ranks) {
  post(launch, [this, launch, signal, ranks = std::move(ranks)] {
    if (LaunchDriver* host = find(launches_, launch)) host->signal(signal, ranks);
  });
}

void Runtime::show_status(Handle launch, std::string line) {
  post(launch, [this, launch, line = std::move(line)] {
    if (LaunchDriver* host = find(launches_, launch)) host->show_status(line);
  });
}

void Runtime::stop(Handle launch, std::chrono::milliseconds grace) {
  post(launch, [this, launch, grace] {
    if (LaunchDriver* host = find(launches_, launch)) host->stop(grace);
  });
}

void Runtime::request(Handle client, RequestId first, ClientOperation operation,
                      std::vector<ClientItem> items) {
  post(client, [this, client, first, operation, items = std::move(items)] {
    if (ClientDriver* host = find(clients_, client)) host->request(first, operation, items);
  });
}

void Runtime::request_spawn(Handle client, RequestId id, engine::SpawnRequest spawn) {
  post(client, [this, client, id, spawn = std::move(spawn)] {
    if (ClientDriver* host = find(clients_, client)) host->spawn(id, spawn);
  });
}

void Runtime::abort(Handle client, std::int32_t exit_code, std::string message) {
  post(client, [this, client, exit_code, message = std::move(message)] {
    if (ClientDriver* host = find(clients_, client)) host->abort(exit_code, message);
  });
}

void Runtime::close_client(Handle client) {
  post(client, [this, client] {
    if (ClientDriver* host = find(clients_, client)) host->close();
  });
}

void Runtime::shutdown() {
  if (shut_down_) return;
  if (reactor_) {
    post(0, [this] {
      stopping_ = true;
      clients_.clear();
      servers_.clear();
      name_servers_.clear();
      for (auto& [handle, launch] : launches_) launch->abandon();
      prepared_agent_.reset();
      if (launches_.empty()) return reactor_->stop();
      reactor_->after(kAgentTimeout, [this] {
        launches_.clear();
        reactor_->stop();
      });
    });
  }
  shut_down_ = true;
  if (thread_.joinable()) thread_.join();
}

}  // namespace wireup::runtime
