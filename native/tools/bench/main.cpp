// wireup-bench: the program that `wireup bench` runs to measure. The floors contain no code of the library.
// The model of a fence has its engine, and reads its messages.
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "tools/bench/byte_cost.h"
#include "tools/bench/conduct.h"
#include "tools/bench/count_link.h"
#include "tools/bench/echo.h"
#include "tools/bench/fence_model.h"
#include "tools/bench/load.h"
#include "tools/bench/start_all.h"
#include "tools/bench/start_floor.h"
#include "tools/bench/swarm.h"
#include "tools/bench/zmq_tree.h"

namespace {

using namespace wireup::bench;

constexpr char kUsage[] =
    "wireup-bench byte-cost\n"
    "wireup-bench conduct MODE RANKS COUNT SERVER-PID|0 COMMAND...\n"
    "wireup-bench count FILE COMMAND...\n"
    "wireup-bench echo fd|tcp|unix RANKS [COMMAND...]\n"
    "wireup-bench load PROCESSES\n"
    "wireup-bench model HOSTS WIDTH|0 BYTES FENCE-NS MESSAGE-NS RECEIVE-NS SEND-NS STORE-NS LATENCY-NS"
    " BYTES-PER-NS\n"
    "wireup-bench SRUN-OPTIONS -w HOSTS COMMAND...\n"
    "wireup-bench start RANKS COMMAND...\n"
    "wireup-bench swarm PMI_PORT PROCESSES\n"
    "wireup-bench zmq-tree HOSTS WIDTH|0 BYTES COUNT plain|curve [ranks]\n";

int usage() {
  std::fputs(kUsage, stderr);
  return 2;
}

std::uint32_t number(const char* text) { return static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)); }

void print(const char* name, const NodeCost& node) {
  const auto whole = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      ",\"%s\":{\"messagesIn\":%llu,\"messagesOut\":%llu,\"bytesIn\":%llu,\"bytesOut\":%llu,"
      "\"processorNs\":%.0f}",
      name, whole(node.messages_in), whole(node.messages_out), whole(node.bytes_in), whole(node.bytes_out),
      node.processor);
}

int model(char** words) {
  const auto real = [&](int i) { return std::strtod(words[i], nullptr); };
  const FenceCost cost = simulate_fence({.hosts = number(words[0]),
                                         .width = number(words[1]),
                                         .bytes = number(words[2]),
                                         .costs = {.fence = real(3),
                                                   .message = real(4),
                                                   .receive = real(5),
                                                   .send = real(6),
                                                   .store = real(7),
                                                   .latency = real(8),
                                                   .bytes_per_ns = real(9)}});
  std::printf("{\"wallNs\":%.0f,\"processorNs\":%.0f,\"depth\":%u", cost.wall, cost.processor, cost.depth);
  print("root", cost.root);
  print("inner", cost.inner);
  print("leaf", cost.leaf);
  std::printf("}\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc < 2 ? "" : argv[1];
  if (what == "conduct" && argc > 6) {
    for (std::size_t mode = 0; mode < std::size(kModes); ++mode) {
      if (std::string_view(argv[2]) != kModes[mode]) continue;
      const Script script{static_cast<Mode>(mode), number(argv[4]), number(argv[3])};
      return conduct(script, static_cast<pid_t>(number(argv[5])), argv + 6);
    }
    return usage();
  }
  if (what == "echo" && argc > 3) {
    const std::string_view transport = argv[2];
    const Transport chosen = transport == "tcp"    ? Transport::tcp
                             : transport == "unix" ? Transport::unix_socket
                                                   : Transport::fd;
    return echo(chosen, number(argv[3]), argv + 4);
  }
  if (what == "byte-cost") {
    const ByteCost cost = measure_byte_cost();
    std::printf("{\"receiveNs\":%.3f,\"sendNs\":%.3f}\n", cost.receive, cost.send);
    return 0;
  }
  if (what == "count" && argc > 3) return count_link(argv[2], argv + 3);
  if (what == "model" && argc > 11) return model(argv + 2);
  if (what == "zmq-tree" && argc > 6) {
    return zmq_tree({.hosts = number(argv[2]),
                     .width = number(argv[3]),
                     .bytes = number(argv[4]),
                     .count = number(argv[5]),
                     .curve = std::string_view(argv[6]) == "curve",
                     .ranks = argc > 7});
  }
  // As an srun.
  if (what.starts_with('-') && argc > 3) return start_all(argv + 1);
  if (what == "start" && argc > 3) return start_floor(number(argv[2]), argv + 3);
  if (what == "load" && argc > 2) return load(number(argv[2]));
  if (what == "swarm" && argc > 3) return swarm(argv[2], number(argv[3]));
  return usage();
}
