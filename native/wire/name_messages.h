// The messages between a name server and its clients, which are launchers and `wireup names list`. The
// connection is a unix stream socket. Each message is a packet (wire/packet.h) in a frame as PMI-2 has it:
// the length in six characters, then the packet.
//
// The client sends Hello, then any number of Ask and List. It does not have to wait for a reply before it
// sends the next one. The server sends Welcome, then a Reply for each Ask and a Page for each List, in the
// order of the requests. If a connection ends, the server removes the names that its client has published.
//
// decode() refuses a frame that is not exactly one message. It also refuses names, ports and kvsnames that
// PMI cannot transmit: those over the limit, or with a newline or a NUL. The receiver of such a frame closes
// the connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wireup::wire::names {

inline constexpr std::uint32_t kProtocolVersion = 1;

// Bytes of one frame without its length. The largest frame to the server is an Ask with name and port at
// their limits; the limit is twice that. The largest frame to the client is a Page of kPageRows rows.
inline constexpr std::size_t kMaxFrameToServer = 4 << 10;
inline constexpr std::size_t kMaxFrameToClient = 128 << 10;
inline constexpr std::size_t kPageRows = 32;

enum class Operation : std::uint8_t { publish, unpublish, lookup };

struct Request {
  Operation operation = Operation::lookup;
  std::string service = {};
  std::string port = {};  // publish only
};

enum class Error : std::uint8_t {
  none,
  taken,      // publish: the name is in use, by this client or another one
  not_found,  // lookup: the name does not exist. unpublish: this client has not published it
  full,       // publish: there are kMaxNames names already
  gone,       // the connection to the name server is lost
};

struct Answer {
  Error error = Error::none;
  std::string port = {};  // lookup only
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::string kvsname = {};  // of the launched or served process group; empty: the client only lists
};

struct Ask {
  Request request = {};
};

// Asks for the names after `after`, in byte order. The reply is one page.
struct List {
  std::string after = {};
};

struct Welcome {
  std::uint32_t version = kProtocolVersion;
};

struct Reply {
  Answer answer = {};
};

struct Row {
  std::string service = {};
  std::string port = {};
  std::string kvsname = {};  // of the client that has published it
  std::int32_t pid = 0;      // of that client; 0: it is in a pid namespace that the server cannot see
};

struct Page {
  std::vector<Row> rows = {};
  bool last = true;
};

// The index of a message in this list is its kind on the wire.
using Message = std::variant<Hello, Ask, List, Welcome, Reply, Page>;

// Returns a complete frame.
std::string encode(const Message& message);
// Expects a frame without its length.
std::optional<Message> decode(std::string_view frame);

}  // namespace wireup::wire::names
