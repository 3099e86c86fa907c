// The messages about a process group: its layout and its PMI servers, its barriers, and the queries of its
// ranks that the launcher answers. See wire/agent_messages.h.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "wire/agent/protocol.h"

namespace wireup::wire::agent {

enum class PmiMode : std::uint8_t { fd, port };

// The kind of PMI_ID; lib/identity.ts describes them.
enum class PmiIdKind : std::uint8_t { number, hexadecimal, rank };

// `count` ranks after those of the run before, on one node and in one application.
struct PlaceRun {
  std::uint32_t count = 0;
  std::uint32_t node = 0;
  std::uint32_t appnum = 0;
};

struct Node {
  std::uint32_t host = kOwnHost;  // the number of the host that it is on
  std::string name = {};     // in labels, names of files and pretended host names; empty: the host's name
  std::uint32_t number = 0;  // in labels and names of files
};

struct PrivateParent {
  std::string variable;
  std::string path;
};

// A process group. The agent makes its PMI server if its host has ranks of the group, and takes part in its
// barriers.
struct Group {
  std::uint32_t number = 0;
  std::uint32_t first_task = 0;
  std::string kvsname;
  std::vector<PlaceRun> layout;  // all ranks
  std::vector<Node> nodes;       // by the layout's number of the node
  // gethostname() in the ranks returns the node's name, if the kernel permits that.
  bool pretend_hosts = false;
  std::uint32_t universe_size = 0;  // 0: the size of the process group
  bool offer_1_2 = false;
  bool strict = false;
  std::uint64_t reported_entries = 0;  // see engine::ProcessGroupOptions
  std::string spawner = {};
  std::vector<std::pair<std::string, std::string>> preput = {};
  // Which peers may connect; see engine::AuthPolicy. No uid: that of the agent itself. Users can have other
  // uids on other hosts.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> allowed_uids = {};
  std::vector<std::string> allowed_hosts = {};
  PmiIdKind pmi_id = PmiIdKind::number;
  std::uint32_t handshake_timeout_ms = 0;
  bool reconnect = false;
  bool descendants_only = false;
  PmiMode pmi = PmiMode::fd;
  std::int32_t channel_fd = 0;  // the number of PMI_FD in ranks
  // Mode `port`: where the server listens, see runtime::ListenOptions.
  std::string address = {};
  std::uint32_t first_port = 0;  // 0: any
  std::uint32_t last_port = 0;
  std::vector<PrivateParent> private_parents = {};
};

// The process group is over on all hosts: its server is closed, and its number is not used again.
struct ForgetGroup {
  std::uint32_t group = 0;
};

// Rank 0 of the group is a process that runs already. The attached fd is its PMI connection.
struct AdoptRank {
  std::uint32_t group = 0;
  std::int32_t pid = 0;
};

// The process group's server is there, or its host has no ranks of it.
struct GroupReady {
  std::uint32_t group = 0;
};

struct GroupFailed {
  std::uint32_t group = 0;
  std::int32_t error = 0;  // errno
  // Empty: `subject` is the reason, for people. `error` is then EMFILE if the limit of open files is too low,
  // and 0 if an option is invalid.
  std::string syscall;
  std::string subject;
};

// These ranks will enter no barrier any more, as the launcher knows from their exits; or (`back`) they have
// connected again. For the host of the ranks, and for every host that has to know that a barrier cannot be
// completed.
struct Depart {
  std::uint32_t group = 0;
  std::vector<std::uint32_t> ranks;
  bool back = false;
};

// All local ranks of the sender's part of the tree have entered the barrier of this number, and these keys
// were put since the one before. In parts; see wire/key_values.h.
struct Fence {
  std::uint32_t group = 0;
  std::uint64_t number = 0;
  std::string keys;
  bool last = true;
};

// The barrier is complete, with the keys of the other hosts. In parts.
struct Release {
  std::uint32_t group = 0;
  std::uint64_t number = 0;
  std::string keys;
  bool last = true;
};

struct SpawnCommand {
  std::string program;
  std::vector<std::string> args;
  std::uint32_t ranks = 0;
  std::vector<std::pair<std::string, std::string>> info;
};

// A rank asks for a process group.
struct SpawnQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::vector<SpawnCommand> commands;
  std::vector<std::pair<std::string, std::string>> preput;
};

struct NameQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::uint8_t operation = 0;  // engine::NameOperation
  std::string service;
  std::string port;
};

// A rank has entered the barrier of a barrier group that has ranks on other hosts.
struct BarrierQuery {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint32_t rank = 0;
  std::string barrier_group;  // as in PMI-1.2's group=, see wire/barrier_group.h
};

// The answer to a query of this number; see SpawnQuery, NameQuery and BarrierQuery.
struct SpawnAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::int32_t rc = 0;
  std::string message = {};
  std::string kvsname = {};
  std::vector<std::int32_t> errcodes = {};
};

struct NameAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  std::uint8_t error = 0;  // engine::NameError
  std::string port = {};
};

struct BarrierAnswer {
  std::uint32_t group = 0;
  std::uint64_t query = 0;
  bool complete = true;
  std::uint32_t gone = 0;  // if it is not complete: a member that has left
};

}  // namespace wireup::wire::agent
