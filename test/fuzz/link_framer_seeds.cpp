// Streams of both sides of a link, with noise, packets and heartbeats.
#include <string>
#include <vector>

#include "fuzz_input.h"
#include "wire/link_framer.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  const std::string greeting = wire::encode_greeting({5, "0.1.0"});
  const std::string heartbeat(wire::kHeartbeat);
  const std::string streams[] = {
      greeting,
      "\n" + greeting + wire::encode_frame("packet"),
      "Welcome\nwireup-agent: no\n" + greeting + heartbeat + wire::encode_frame(std::string(90, 'x')) +
          heartbeat,
      std::string(60, 'n') + "\n" + greeting + wire::encode_frame("a") + wire::encode_frame("b"),
      greeting + wire::encode_frame(std::string(101, 'x')),
      "wireup-agent 6\n" + wire::encode_frame(greeting),
  };
  std::vector<std::string> list;
  for (char kind = 0; kind < 4; ++kind) {
    for (const std::string& stream : streams) list.push_back(std::string{kind, '\x0c'} + stream);
  }
  return list;
}

}  // namespace wireup::fuzz
