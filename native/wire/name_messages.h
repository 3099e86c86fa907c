// What a launcher (or `wireup names list`) and a name server say to each other over a unix stream socket, as
// bytes: each message is a packet (wire/packet.h) in a frame of PMI-2 (its length in six characters, then the
// packet).
//
// Client: Hello, then Ask and List as it likes, some before the last is answered. Server: Welcome, then a
// Reply to each Ask and a Page to each List, in order. What a client has published goes when its connection
// ends.
//
// decode() refuses what is not exactly one message, and every name, port or kvsname that PMI could not say:
// over its limit, or with a newline or a NUL. Whoever reads one of those ends the connection.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace wireup::wire::names {

inline constexpr std::uint32_t kProtocolVersion = 1;

// Bytes of one frame without its length. To the server: an Ask with name and port at their limits, twice
// over. To the client: a Page, whose rows are at most kPageRows.
inline constexpr std::size_t kMaxFrameToServer = 4 << 10;
inline constexpr std::size_t kMaxFrameToClient = 128 << 10;
inline constexpr std::size_t kPageRows = 32;

enum class Operation : std::uint8_t { publish, unpublish, lookup };

struct Request {
  Operation operation = Operation::lookup;
  std::string service = {};
  std::string port = {};  // of publish
};

enum class Error : std::uint8_t {
  none,
  taken,      // publish: the name is another's, or our own already
  not_found,  // lookup: no such name; unpublish: none of who asks
  full,       // publish: there are kMaxNames
  gone,       // there is no name server any more
};

struct Answer {
  Error error = Error::none;
  std::string port = {};  // of a lookup
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::string kvsname = {};  // of the job; empty for who only looks
};

struct Ask {
  Request request = {};
};

// The names behind `after`, in the order of their bytes: as many as a page holds.
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
  std::string kvsname = {};  // of the job that published it
  std::int32_t pid = 0;      // of its launcher; 0: in a pid namespace that the server cannot see
};

struct Page {
  std::vector<Row> rows = {};
  bool last = true;
};

// A message's place here is its kind on the wire.
using Message = std::variant<Hello, Ask, List, Welcome, Reply, Page>;

// As a whole frame.
std::string encode(const Message& message);
// A frame without its length.
std::optional<Message> decode(std::string_view frame);

}  // namespace wireup::wire::names
