// The requests of a rank in a benchmark. The client and the swarm send the same requests.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace wireup::bench {

// launch: the rank sends nothing, and only the command is timed. fence: barriers, with a put before each.
enum class Mode : std::uint32_t { exchange, barrier, get, put, connect, launch, fence };
inline constexpr const char* kModes[] = {"exchange", "barrier", "get", "put", "connect", "launch", "fence"};

// As long as the business cards of MPI libraries.
inline constexpr std::size_t kCard = 128;
// RFC 13: a line contains at most a name, a key and a value, of 256, 64 and 1024 bytes, and a few words.
inline constexpr std::size_t kMaxRequest = 2048;
inline constexpr std::size_t kMaxName = 256;

struct Script {
  Mode mode;
  // exchange: gets of each rank; barrier, get, put: requests of each rank; fence: barriers
  std::uint32_t count;
  std::uint32_t size;

  std::uint32_t gets() const { return std::min(count, size - 1); }

  std::uint32_t steps() const {
    if (mode == Mode::exchange) return 3 + gets();
    if (mode == Mode::fence) return 2 * count;
    return mode == Mode::connect ? 0 : count;
  }

  // Steps before the timed ones: the cards for the gets.
  std::uint32_t steps_before() const { return mode == Mode::get ? 2 : 0; }

  // Number of times that each rank records, with the one at its start.
  std::uint32_t marks() const {
    if (mode == Mode::exchange) return 5;
    return mode == Mode::barrier || mode == Mode::fence ? 1 + steps() : 2;
  }

  // Whether the rank records the time after the reply to this step.
  bool is_marked(std::uint32_t step) const {
    if (mode == Mode::barrier || mode == Mode::fence || step + 1 == steps()) return true;
    return mode == Mode::exchange && (step < 2 || step + 2 == steps());
  }

  // Each writes a request to `out` and returns its length.
  std::size_t write_request(char* out, std::uint32_t step, std::uint32_t rank, const char* name) const {
    if (mode == Mode::barrier) return write_barrier(out);
    if (mode == Mode::fence && step % 2 == 1) return write_barrier(out);
    if (mode == Mode::put || mode == Mode::fence) return write_put(out, name, rank, step + 1);
    if (mode == Mode::get) return write_get(out, name, rank, step % (size > 1 ? size - 1 : 1));
    if (step == 0) return write_put(out, name, rank, 0);
    if (step == 1 || step == 2 + gets()) return write_barrier(out);
    return write_get(out, name, rank, step - 2);
  }

  std::size_t write_request_before(char* out, std::uint32_t step, std::uint32_t rank,
                                   const char* name) const {
    return step == 0 ? write_put(out, name, rank, 0) : write_barrier(out);
  }

 private:
  static std::size_t write_barrier(char* out) {
    return static_cast<std::size_t>(std::snprintf(out, kMaxRequest, "cmd=barrier_in\n"));
  }
  static std::size_t write_put(char* out, const char* name, std::uint32_t rank, std::uint32_t number) {
    const int begun =
        std::snprintf(out, kMaxRequest, "cmd=put kvsname=%s key=card-%u-%u value=", name, rank, number);
    std::memset(out + begun, 'x', kCard);
    out[begun + static_cast<int>(kCard)] = '\n';
    return static_cast<std::size_t>(begun) + kCard + 1;
  }
  // For the card of the rank that is `distance` + 1 after this one.
  std::size_t write_get(char* out, const char* name, std::uint32_t rank, std::uint32_t distance) const {
    return static_cast<std::size_t>(std::snprintf(out, kMaxRequest, "cmd=get kvsname=%s key=card-%u-0\n",
                                                  name, (rank + 1 + distance) % size));
  }
};

// The first requests of a rank; over PMI_PORT they follow initack.
inline constexpr const char* kHello[] = {"cmd=init pmi_version=1 pmi_subversion=1\n", "cmd=get_maxes\n",
                                         "cmd=get_appnum\n", "cmd=get_my_kvsname\n"};
inline constexpr std::uint32_t kHelloSteps = 4;
inline constexpr const char* kFinalize = "cmd=finalize\n";
// Number of lines in the reply to initack.
inline constexpr int kInitackLines = 4;

// Reads the name from the reply to get_my_kvsname. Returns false if there is none.
inline bool read_name(const char* line, std::size_t size, char (&name)[kMaxName]) {
  constexpr std::string_view kIntro = "cmd=my_kvsname ";
  constexpr std::string_view kName = " kvsname=";  // Slurm sends rc=0 before it
  const std::string_view answer(line, size);
  const std::size_t found = answer.find(kName);
  if (!answer.starts_with(kIntro) || found == std::string_view::npos) return false;
  const std::string_view value = answer.substr(found + kName.size());
  const std::size_t length = std::min(value.find_first_of(" \n"), value.size());
  if (length >= sizeof name) return false;
  std::memcpy(name, value.data(), length);
  name[length] = '\0';
  return true;
}

}  // namespace wireup::bench
