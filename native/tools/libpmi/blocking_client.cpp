#include "tools/libpmi/blocking_client.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>
#include <variant>

#include "engine/process_group.h"
#include "engine/result_codes.h"
#include "tools/client/connection.h"
#include "tools/client/failure.h"
#include "tools/client/talk.h"
#include "wire/clique.h"

namespace wireup::libpmi {
namespace {

using client::Failure;

// A server under load may take seconds to accept and reply.
constexpr std::chrono::seconds kConnectTimeout{10};

// Much longer than a reply takes. Counted in slices, so that a time in which this process was stopped (a
// batch system suspends jobs) counts as one slice.
constexpr int kAnswerSlices = 60;
constexpr std::chrono::seconds kSlice{1};

const char* variable(const char* name) { return std::getenv(name); }

int number(const char* name, int max) {
  const std::string_view text = variable(name) == nullptr ? "" : variable(name);
  int value = -1;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || stop != text.data() + text.size() || value < 0 || value > max) {
    throw Failure(std::string(name) + "=" + (text.empty() ? "(not set)" : std::string(text)) +
                  ": expected a whole number up to " + std::to_string(max));
  }
  return value;
}

// If PMI_FD is stale, it may be another file of this program. So only a socket is taken and closed.
os::UniqueFd inherited() {
  const int fd = number("PMI_FD", std::numeric_limits<int>::max());
  const std::string name = "PMI_FD=" + std::to_string(fd);
  struct stat status {};
  if (::fstat(fd, &status) < 0)
    throw Failure(name + ": " + std::strerror(errno) + "; was the fd closed on the way?");
  if (!S_ISSOCK(status.st_mode)) throw Failure(name + " is no socket; was the fd closed on the way?");
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return os::UniqueFd(fd);
}

class SocketPeer final : public ServerLink {
 public:
  SocketPeer(os::UniqueFd socket, const std::string& name)
      : socket_(std::move(socket)), talk_(socket_.get(), name) {}

  void send(std::string_view bytes) override { talk_.send(bytes, client::Deadline(kAnswerSlices * kSlice)); }

  void receive(engine::ClientSession& session, engine::ClientEffects& effects, bool for_ever) override {
    for (int slice = 1; !for_ever && !talk_.can_receive(client::Deadline(kSlice)); ++slice) {
      if (slice == kAnswerSlices) throw Failure("the server at " + name() + " does not answer");
    }
    const std::string_view bytes = talk_.receive({});
    if (bytes.empty()) {
      session.eof(effects);
    } else {
      session.receive(bytes, effects);
    }
  }

  std::string name() const override { return talk_.server(); }

 private:
  os::UniqueFd socket_;
  client::Talk talk_;
};

// RFC 13's singleton: the engine in this process, which is the only rank.
class OwnPeer final : public ServerLink {
 public:
  OwnPeer() : group_(options()) { group_.open_channel(kConnection, 0); }

  void send(std::string_view bytes) override {
    group_.receive(kConnection, bytes, answers_);
    std::vector<engine::QueryId> queries;
    for (const engine::Effect& effect : answers_.list()) {
      if (const auto* query = engine::as<engine::SpawnQuery>(effect)) queries.push_back(query->id);
    }
    for (const engine::QueryId id : queries) {
      group_.answer_spawn(id, {.rc = engine::kFail, .message = "not_supported"}, answers_);
    }
  }

  void receive(engine::ClientSession& session, engine::ClientEffects& effects, bool) override {
    // Without a reply it would wait for ever.
    if (answers_.empty()) throw Failure("no other rank can put the value: this process is the only one");
    for (const engine::Effect& effect : answers_.list()) {
      if (const auto* send = engine::as<engine::Send>(effect))
        session.receive(answers_.bytes(*send), effects);
    }
    answers_.clear();
  }

  std::string name() const override { return "singleton"; }

 private:
  static constexpr engine::ConnectionId kConnection = 0;

  static engine::ProcessGroupOptions options() {
    engine::ProcessGroupOptions options;
    options.kvsname = "singleton";
    options.layout = engine::Layout::single_node(1);
    return options;
  }

  engine::ProcessGroup group_;
  engine::Effects answers_;
};

}  // namespace

std::unique_ptr<BlockingClient> BlockingClient::open(wire::Version version) {
  engine::ClientOptions options;
  options.version = version;
  options.spawned = variable("PMI_SPAWNED") != nullptr && std::string_view(variable("PMI_SPAWNED")) == "1";
  if (variable("PMI_JOBID") != nullptr) options.job_id = variable("PMI_JOBID");
  std::unique_ptr<ServerLink> peer;
  if (variable("PMI_FD") != nullptr) {
    const int size = number("PMI_SIZE", std::numeric_limits<int>::max());
    options.size = static_cast<std::uint32_t>(size);
    options.rank = static_cast<std::uint32_t>(number("PMI_RANK", size - 1));
    peer = std::make_unique<SocketPeer>(inherited(), std::string("PMI_FD=") + variable("PMI_FD"));
  } else if (variable("PMI_PORT") != nullptr) {
    if (variable("PMI_ID") == nullptr)
      throw Failure("PMI_PORT is set, but PMI_ID is not; a launcher sets both");
    client::Connection connection =
        client::connect_to_server(variable("PMI_PORT"), client::Deadline(kConnectTimeout));
    options.pmi_id = variable("PMI_ID");
    peer = std::make_unique<SocketPeer>(std::move(connection.socket), connection.address);
  } else {
    peer = std::make_unique<OwnPeer>();
  }
  return std::unique_ptr<BlockingClient>(new BlockingClient(std::move(peer), std::move(options)));
}

BlockingClient::BlockingClient(std::unique_ptr<ServerLink> peer, engine::ClientOptions options)
    : peer_(std::move(peer)), session_(std::move(options)) {
  session_.start(effects_);
  for (bool ready = false;;) {
    for (const engine::ClientEvent& event : effects_.events) {
      if (const auto* failed = std::get_if<engine::Failed>(&event))
        throw Failure(peer_->name() + ": " + failed->message);
      if (const auto* done = std::get_if<engine::Ready>(&event)) {
        info_ = done->info;
        ready = true;
      }
    }
    effects_.events.clear();
    if (ready) break;
    send_pending();
    peer_->receive(session_, effects_, false);
  }
}

engine::Answer BlockingClient::put(std::string_view key, std::string_view value) {
  throw_if_failed();
  return finish(session_.put(key, value, effects_));
}

engine::Answer BlockingClient::get(std::string_view key) {
  throw_if_failed();
  return finish(session_.get(key, effects_));
}

engine::Answer BlockingClient::barrier() {
  throw_if_failed();
  return finish(session_.barrier({}, effects_), true);
}

engine::Answer BlockingClient::publish(std::string_view service, std::string_view port) {
  throw_if_failed();
  return finish(session_.publish(service, port, effects_));
}

engine::Answer BlockingClient::unpublish(std::string_view service) {
  throw_if_failed();
  return finish(session_.unpublish(service, effects_));
}

engine::Answer BlockingClient::lookup(std::string_view service) {
  throw_if_failed();
  return finish(session_.lookup(service, effects_));
}

engine::Answer BlockingClient::spawn(const engine::SpawnRequest& request) {
  throw_if_failed();
  return finish(session_.spawn(request, effects_), true);
}

engine::Answer BlockingClient::put_node_attribute(std::string_view key, std::string_view value) {
  throw_if_failed();
  return finish(session_.put_node_attribute(key, value, effects_));
}

engine::Answer BlockingClient::get_node_attribute(std::string_view key, bool wait) {
  throw_if_failed();
  return finish(session_.get_node_attribute(key, wait, effects_), wait);
}

engine::Answer BlockingClient::get_job_attribute(std::string_view key) {
  throw_if_failed();
  return finish(session_.get_job_attribute(key, effects_));
}

engine::Answer BlockingClient::finalize() {
  throw_if_failed();
  return finish(session_.finalize(effects_));
}

void BlockingClient::abort(int exit_code, std::string_view message) {
  session_.abort(exit_code, message, effects_);
  send_pending();
}

const std::vector<std::uint32_t>& BlockingClient::clique() {
  if (clique_.empty()) {
    const auto value_of = [this](std::string_view key) {
      // In Slurm's PMI-2 it is a job attribute, and not a key of the KVS.
      engine::Answer answer = info_.version == 2 ? get_job_attribute(key) : get(key);
      return answer.rc == engine::kSuccess ? std::move(answer.value) : std::string();
    };
    const std::string mapping = value_of(wire::kProcessMappingKey);
    const std::string taskmap = mapping.empty() ? value_of(wire::kFluxTaskmapKey) : std::string();
    wire::Clique clique = wire::find_clique(mapping, taskmap, info_.rank, info_.size);
    if (!clique.error.empty()) throw Failure(peer_->name() + ": " + clique.error);
    clique_ = std::move(clique.ranks);
  }
  return clique_;
}

engine::Answer BlockingClient::finish(engine::RequestId request, bool for_ever) {
  try {
    for (;;) {
      for (engine::ClientEvent& event : effects_.events) {
        if (const auto* failed = std::get_if<engine::Failed>(&event)) {
          throw Failure(peer_->name() + ": " + failed->message);
        }
        auto* answer = std::get_if<engine::Answer>(&event);
        if (answer != nullptr && answer->request == request) {
          engine::Answer result = std::move(*answer);
          effects_.events.clear();
          return result;
        }
      }
      effects_.events.clear();
      send_pending();
      peer_->receive(session_, effects_, for_ever);
    }
  } catch (const Failure& failure) {
    failure_ = failure.what();
    throw;
  }
}

void BlockingClient::send_pending() {
  const std::string bytes = std::exchange(effects_.send, {});
  if (!bytes.empty()) peer_->send(bytes);
}

void BlockingClient::throw_if_failed() const {
  if (!failure_.empty()) throw Failure(failure_);
}

}  // namespace wireup::libpmi
