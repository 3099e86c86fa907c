// The client's side of PMI on one connection, without I/O. Inputs are requests and bytes; outputs are bytes
// and answers.
//
// start() begins the handshake: initack (PMI_PORT only), init, get_maxes, get_my_kvsname, get_appnum and
// get_universe_size; in PMI-2 init, fullinit, job-getid and the job attribute universeSize. With
// `handshake_only` it ends after initack. A `Ready` event reports that the handshake is complete. Requests
// that are made earlier wait for it. Requests are answered in the order in which they were made. After
// `Failed` there are no more events.
//
// The client requests version 1.1, or the version in its options, and accepts any 1.x in reply to 1.x. It
// parses replies with tolerance: attributes in any order, unknown attributes, extra blanks, an initack with
// or without rc and attributes.
//
// RFC 13 permits one request at a time, and Slurm's server never replies to a second one. Servers that buffer
// their input accept more: the client then sends up to `window` puts and gets before the first reply. All
// other requests (handshake, barrier, names, finalize) are sent alone.
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
  // PMI_PORT: the PMI_ID to send in initack. Empty: the connection is an inherited PMI_FD, and `rank` and
  // `size` are known.
  std::optional<std::string> pmi_id;
  std::uint32_t rank = 0;       // PMI_FD only: PMI_RANK
  std::uint32_t size = 1;       // PMI_FD only: PMI_SIZE
  bool handshake_only = false;  // stop after initack, as wireup-exec does before it executes the program
  bool spawned = false;         // PMI_SPAWNED
  std::string job_id = {};      // PMI_JOBID, which Slurm's PMI-2 server requires in fullinit; empty: not set
  std::size_t window = 1;       // puts and gets in flight; 1 works with every server
  bool cautious = false;        // use `window` only if the server is known to buffer its input, else 1
  wire::Version version = wire::Version::v1;
  std::uint32_t subversion = 1;  // PMI-1: 2 offers barrier groups, if the server supports them
};

// The window for servers that buffer their input. It is large enough to hide the latency, and limits the
// bytes in flight to 256 KiB. The caller must read replies while it writes requests. Otherwise both sides
// could block, each in a write.
inline constexpr std::size_t kPipelineWindow = 128;

struct ClientInfo {
  std::uint32_t rank = 0;
  std::uint32_t size = 1;
  bool spawned = false;  // the process group was started by MPI_Comm_spawn or the like
  std::int32_t appnum = 0;
  std::int32_t universe_size = -1;  // -1: the server does not report it
  std::uint32_t version = 0;
  std::uint32_t subversion = 0;
  std::string kvsname;
  // Limits in bytes with a terminator.
  std::size_t kvsname_max = 0;
  std::size_t key_max = 0;
  std::size_t value_max = 0;
};

// The answer to one request.
struct Answer {
  RequestId request;
  // The server's rc, or a code of RFC 13 if `local`; 0: success.
  std::int32_t rc = 0;
  // Of get and attributes: the value. Of lookup: the port. Of spawn: the new kvsname, if a PMI-2 server sends
  // it.
  std::string value;
  std::string message;                      // the server's msg=, if rc is not 0
  std::vector<std::int32_t> errcodes = {};  // of spawn: one for each process; empty: all are 0
  bool local = false;                       // the request cannot be sent; the server did not get it
};

struct Ready {
  ClientInfo info;
};

// The connection cannot be used any more: the server closed it, refused the client, or violated the protocol.
struct Failed {
  enum class Reason : std::uint8_t { hung_up, refused, protocol } reason;
  std::string message;
};

using ClientEvent = std::variant<Ready, Answer, Failed>;

struct ClientEffects {
  std::string send;  // bytes to send to the server
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

  // A request that the wire cannot carry is not sent. Its Answer has `local`, a code of RFC 13 and a message.
  // Keys, values, services and ports must not have a newline or a NUL byte, in PMI-2 no semicolon either;
  // keys and services no blank and no '='; all must be within the server's limits.
  RequestId put(std::string_view key, std::string_view value, ClientEffects& effects);
  RequestId get(std::string_view key, ClientEffects& effects);
  // `group` is a barrier group of PMI-1.2 (wire/barrier_group.h); empty: all ranks.
  RequestId barrier(std::string_view group, ClientEffects& effects);
  RequestId publish(std::string_view service, std::string_view port, ClientEffects& effects);
  RequestId unpublish(std::string_view service, ClientEffects& effects);
  RequestId lookup(std::string_view service, ClientEffects& effects);
  RequestId spawn(const SpawnRequest& spawn, ClientEffects& effects);
  // PMI-2 only. `wait`: the server replies when a rank of the node has put the attribute.
  RequestId put_node_attribute(std::string_view key, std::string_view value, ClientEffects& effects);
  RequestId get_node_attribute(std::string_view key, bool wait, ClientEffects& effects);
  RequestId get_job_attribute(std::string_view key, ClientEffects& effects);
  RequestId finalize(ClientEffects& effects);
  // Sends abort immediately, before requests that wait. There is no reply.
  void abort(std::int32_t exit_code, std::string_view message, ClientEffects& effects);

  void receive(std::string_view bytes, ClientEffects& effects);
  void eof(ClientEffects& effects);

 private:
  enum class State : std::uint8_t { idle, identifying, starting, ready, over };

  struct Request {
    wire::MessageId message;
    RequestId id = 0;        // 0: a message of the handshake
    std::string key = {};    // names: the service; barrier: the group
    std::string value = {};  // publish: the port; spawn: the whole message
  };

  // Why a request cannot be sent. rc is 0 if it can.
  struct Refusal {
    std::int32_t rc = 0;
    std::string message = {};
  };

  RequestId enqueue(Request request, ClientEffects& effects);
  void begin(ClientEffects& effects);
  // Sends as many requests as the window allows, and answers those that cannot be sent.
  void pump(ClientEffects& effects);
  bool can_send(const Request& request) const;
  Refusal refusal_of(const Request& request) const;
  // Why its key or value cannot be sent.
  Refusal value_refusal(const Request& request) const;
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
  bool identified_ = false;  // the reply to initack is complete, except for its three set lines
  bool have_size_ = false;
  bool have_rank_ = false;
  bool have_debug_ = false;
  bool finalized_ = false;
  RequestId last_id_ = 0;
  std::deque<Request> waiting_;
  std::deque<Request> in_flight_;
  wire::LineFramer framer_{kMaxLine};
  wire::FrameFramer frames_{kMaxFrame};
  bool framed_ = false;  // both sides use PMI-2 frames
  std::string scratch_;
};

}  // namespace wireup::engine
