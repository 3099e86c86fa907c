// What ranks have done: events of their PMI connections, and lines of a recording. See wire/agent_messages.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wireup::wire::agent {

// engine::Peer.
struct Peer {
  std::uint8_t transport = 0;
  std::int64_t uid = -1;  // -1: not known
  std::int32_t pid = 0;   // 0: not known
  std::string address = {};
  std::string host = {};
  std::string unknown = {};
};

// One engine::Event. Its fields are those of engine/effects.h, and when it happened.
struct EventRecord {
  std::uint8_t type = 0;
  std::int32_t rank = -1;
  std::int32_t exit_code = 0;
  bool lost = false;
  bool again = false;
  bool in_barrier = false;
  std::uint64_t barrier = 0;
  std::uint32_t version = 0;
  std::uint32_t subversion = 0;
  std::string message = {};
  Peer peer = {};
  std::uint64_t time_ns = 0;
};

struct Events {
  std::uint32_t group = 0;
  std::vector<EventRecord> events;
};

// Events that peers can repeat without end, and that the agent has dropped because the launcher was slow.
struct EventsMissed {
  std::uint8_t type = 0;
  std::uint64_t count = 0;
};

// Lines of the recording that Hello::trace asks for.
struct TraceLines {
  std::string lines;
  std::uint64_t records = 0;  // in `lines`
  std::uint64_t dropped = 0;  // missing before or between them, because the launcher was slow
};

}  // namespace wireup::wire::agent
