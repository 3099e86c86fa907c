// wireup-bench: the program that `wireup bench` runs to measure. It contains no code of the library.
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>

#include "tools/bench/conduct.h"
#include "tools/bench/echo.h"
#include "tools/bench/load.h"
#include "tools/bench/start_floor.h"
#include "tools/bench/swarm.h"

namespace {

using namespace wireup::bench;

constexpr char kUsage[] =
    "wireup-bench conduct MODE RANKS COUNT SERVER-PID|0 COMMAND...\n"
    "wireup-bench echo fd|tcp|unix RANKS [COMMAND...]\n"
    "wireup-bench load PROCESSES\n"
    "wireup-bench start RANKS COMMAND...\n"
    "wireup-bench swarm PMI_PORT PROCESSES\n";

int usage() {
  std::fputs(kUsage, stderr);
  return 2;
}

std::uint32_t number(const char* text) { return static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)); }

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
  if (what == "start" && argc > 3) return start_floor(number(argv[2]), argv + 3);
  if (what == "load" && argc > 2) return load(number(argv[2]));
  if (what == "swarm" && argc > 3) return swarm(argv[2], number(argv[3]));
  return usage();
}
