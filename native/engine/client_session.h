// The client's half of PMI on one connection, without I/O: requests and bytes in, bytes and answers out.
//
// start() begins the handshake (initack on a port, then init, get_maxes, get_my_kvsname, get_appnum,
// get_universe_size unless `handshake_only`; in PMI-2 init, fullinit, job-getid and the job's attribute
// universeSize). A `ready` answer tells its end. Requests may be made before; they wait. Requests are
// answered in the order they were made. After `failed` nothing more is answered.
//
// It says 1.1, or the version that it is told to, and takes any 1.x for an answer to 1.x. Replies are read
// with tolerance: attributes in any order, unknown ones, extra blanks, an initack with or without rc and
// attributes.
//
// RFC 13 has one request in flight, and with Slurm's server a second one hangs. Servers that buffer their
// input bear more: up to `window` puts and gets are sent before the first is answered. Everything else (the
// handshake, barrier, names, finalize) goes alone.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/limits.h"
#include "engine/spawn.h"
#include "wire/codec.h"
#include "wire/framer.h"

namespace wireup::engine {

using RequestId = std::uint64_t;

struct ClientOptions {
  // On PMI_PORT: the PMI_ID to say in initack. Empty: an inherited PMI_FD, where rank and size are given.
  std::optional<std::string> pmi_id;
  std::uint32_t rank = 0;       // PMI_FD only: PMI_RANK
  std::uint32_t size = 1;       // PMI_FD only: PMI_SIZE
  bool handshake_only = false;  // stop after initack: what wireup-exec needs before it execs
  bool spawned = false;         // PMI_SPAWNED
  std::string job_id = {};      // PMI_JOBID, which Slurm's server of PMI-2 asks back; empty: it is not set
  std::size_t window = 1;       // puts and gets in flight; 1 is lock-step, which every server bears
  bool cautious = false;        // only with a server that is known to bear it; with any other in lock-step
  wire::Version version = wire::Version::v1;
  std::uint32_t subversion = 1;  // of PMI-1: 2 offers barriers of groups, where the server takes it
};

// The window for servers that buffer: enough to hide the way to the server, and at most 256 KiB in flight.
// Only for hosts that read while they write, so that a server that writes before it reads on never blocks for
// good.
inline constexpr std::size_t kPipelineWindow = 128;

struct ClientInfo {
  std::uint32_t rank = 0;
  std::uint32_t size = 1;
  bool spawned = false;  // by another PMI program
  std::int32_t appnum = 0;
  std::int32_t universe_size = -1;
  std::uint32_t version = 0;
  std::uint32_t subversion = 0;
  std::string kvsname;
  std::size_t kvsname_max = 0;
  std::size_t key_max = 0;
  std::size_t value_max = 0;
};

// The end of one request. rc is the server's, or a code of RFC 13 where the request could not be sent; 0 is
// success.
struct Answer {
  RequestId request;
  std::int32_t rc = 0;
  std::string
      value;  // of a get; the port of a lookup; the new job's kvsname, where a server of PMI-2 says it
  std::string message;                      // the server's msg= where rc is not 0
  std::vector<std::int32_t> errcodes = {};  // of a spawn: one a process, or none, which is all 0
  bool local = false;                       // the request cannot be said: the server was not asked
};

struct Ready {
  ClientInfo info;
};

// The connection is of no more use: the server hung up, refused us or broke the protocol.
struct Failed {
  enum class Reason : std::uint8_t { hung_up, refused, protocol } reason;
  std::string message;
};

using ClientEvent = std::variant<Ready, Answer, Failed>;

struct ClientEffects {
  std::string send;  // bytes for the server
  std::vector<ClientEvent> events;
  bool close = false;
  void clear() {
    send.clear();
    events.clear();
    close = false;
  }
};

class ClientSession {
 public:
  explicit ClientSession(ClientOptions options);
  ~ClientSession();
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  void start(ClientEffects& effects);

  // Keys, values, services and ports must be sayable on the wire (no NUL or newline; a key or service has no
  // blank or '='; a put must fit in the server's limits): otherwise the Answer has the code that RFC 13 names
  // for it and a message, and nothing is sent.
  RequestId put(std::string_view key, std::string_view value, ClientEffects& effects);
  RequestId get(std::string_view key, ClientEffects& effects);
  // `group`: of PMI-1.2, in its grammar (wire/barrier_group.h); empty: all ranks.
  RequestId barrier(std::string_view group, ClientEffects& effects);
  RequestId publish(std::string_view service, std::string_view port, ClientEffects& effects);
  RequestId unpublish(std::string_view service, ClientEffects& effects);
  RequestId lookup(std::string_view service, ClientEffects& effects);
  RequestId spawn(const SpawnRequest& spawn, ClientEffects& effects);
  // Of PMI-2 only. `wait`: until some rank of the node has put it.
  RequestId put_node_attribute(std::string_view key, std::string_view value, ClientEffects& effects);
  RequestId get_node_attribute(std::string_view key, bool wait, ClientEffects& effects);
  RequestId get_job_attribute(std::string_view key, ClientEffects& effects);
  RequestId finalize(ClientEffects& effects);
  // Sent at once, before whatever waits; there is no answer on the wire.
  void abort(std::int32_t exit_code, std::string_view message, ClientEffects& effects);

  void receive(std::string_view bytes, ClientEffects& effects);
  void eof(ClientEffects& effects);

 private:
  enum class State : std::uint8_t { idle, identifying, starting, ready, over };

  struct Request {
    wire::MessageId message;
    RequestId id = 0;        // 0: of the handshake
    std::string key = {};    // the service, of what is about names; the group, of a barrier
    std::string value = {};  // the port, of publish; the whole message, of a spawn
  };

  // Why a request cannot be sent; rc 0: it can.
  struct Refusal {
    std::int32_t rc = 0;
    std::string message = {};
  };

  RequestId enqueue(Request request, ClientEffects& effects);
  void begin(ClientEffects& effects);
  // Sends what the window allows, and answers what never needs the wire.
  void pump(ClientEffects& effects);
  bool has_room_for(const Request& request) const;
  Refusal refusal_of(const Request& request) const;
  Refusal unsayable(const Request& request) const;
  bool write(const Request& request, std::string& out) const;

  bool is_v2() const { return options_.version == wire::Version::v2; }
  void on_line(std::string_view line, ClientEffects& effects);
  void on_message(const wire::Parsed& parsed, std::string_view text, ClientEffects& effects);
  void on_init_reply(const wire::Parsed& parsed, bool ok, ClientEffects& effects);
  void on_fullinit_reply(const wire::Parsed& parsed, bool ok, ClientEffects& effects);
  void on_identity(const wire::Parsed& parsed, ClientEffects& effects);
  void on_set(const wire::Parsed& parsed, ClientEffects& effects);
  void on_startup_reply(wire::MessageId asked, const wire::Parsed& parsed, bool ok, ClientEffects& effects);
  bool set_limits(const wire::Parsed& parsed);
  void on_ready(ClientEffects& effects);
  void fail(Failed::Reason reason, std::string message, ClientEffects& effects);

  ClientOptions options_;
  ClientInfo info_;
  State state_ = State::idle;
  bool identified_ = false;  // the initack line itself has come; its three set lines follow
  bool have_size_ = false;
  bool have_rank_ = false;
  bool have_debug_ = false;
  bool finalized_ = false;
  RequestId last_id_ = 0;
  std::deque<Request> waiting_;
  std::deque<Request> in_flight_;
  wire::LineFramer framer_{kMaxLine};
  wire::FrameFramer frames_{kMaxFrame};
  bool framed_ = false;  // PMI-2 is agreed on
  std::string scratch_;
};

}  // namespace wireup::engine
