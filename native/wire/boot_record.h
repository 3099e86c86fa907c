// How the agent of another host finds its parent in a tree over ZeroMQ.
//
// One launcher (srun) starts the agents of many hosts with the same stdin. It brings them the boot record: a
// greeting and one frame, as on a link (wire/link_framer.h). Each agent then makes its own key pair, connects
// to the root with the join key of the record, and sends Join. If the root is its parent, the connection is
// the link from then on. Else the root replies Joined when the parent expects the agent, which then connects
// to its parent with its own keys. With them it admits its children.
//
// The decoders refuse what is not exactly one valid message. What they return is bounded, has numeric
// addresses only, and keys of the right form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace wireup::wire::boot {

inline constexpr std::size_t kMaxHosts = 65'536;
inline constexpr std::size_t kMaxEndpoints = 64;
inline constexpr std::size_t kJobIdSize = 16;
// Of the name of a host, of an interface, and of a network.
inline constexpr std::size_t kMaxName = 255;
// Of a Join or a Joined.
inline constexpr std::size_t kMaxMessage = 16 << 10;

struct Record {
  std::string job = {};  // kJobIdSize random bytes, made for this start of agents
  // Where the root listens, and its public key. An empty key: insecure links.
  std::vector<std::string> endpoints = {};
  std::string root_key = {};
  // The secret key with which an agent may connect to the root to join; if links are insecure, a password
  // of the same form.
  std::string join_key = {};
  std::uint32_t width = 1;              // children of each host at most
  std::vector<std::uint32_t> hosts;     // the numbers of the hosts, in the order of their places in the tree
  std::vector<std::string> names = {};  // those by which the launcher knows them; see place_of()
  std::string iface = {};               // where a host listens for its children: runtime/listen_addresses.h
};

// From an agent to the root.
struct Join {
  std::string job;
  std::uint32_t host = 0;
  std::string key;                     // its public key; if links are insecure, its password
  std::vector<std::string> endpoints;  // where it listens for its children; empty: it has none
};

// From the root to an agent that has joined and has another parent.
struct Joined {
  std::uint32_t parent = 0;
  std::string parent_key = {};  // empty: insecure links
  std::vector<std::string> endpoints = {};
};

// The place of the host of this name in `hosts`. The launcher of many agents gives each of them the name of
// its host, but numbers its tasks in an order of its own.
std::optional<std::size_t> place_of(const Record& record, std::string_view name);

// The frame's packet, without greeting and length.
std::string encode(const Record& record);
std::string encode(const Join& join);
std::string encode(const Joined& joined);
std::optional<Record> decode_record(std::string_view packet);
std::optional<Join> decode_join(std::string_view message);
std::optional<Joined> decode_joined(std::string_view message);

// The shape of the tree: the root has position 0, and the hosts of a record follow in their order. Each
// position has `width` children at most.
constexpr std::size_t parent_of(std::size_t position, std::size_t width) { return (position - 1) / width; }
constexpr bool has_children(std::size_t position, std::size_t width, std::size_t hosts) {
  return position * width + 1 <= hosts;
}

// "tcp://ADDRESS:PORT" with a numeric address; an IPv6 address stands in brackets.
bool is_endpoint(std::string_view text);
// 40 characters of Z85.
bool is_key(std::string_view text);

}  // namespace wireup::wire::boot
