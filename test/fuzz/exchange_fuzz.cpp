// Fuzzes a job over hosts (engine/job_over_hosts.h): bytes and messages are delivered in any order, hosts are
// lost, and agents send invalid messages. Invariants:
//
// 1. What job_over_hosts.h checks: after a completed barrier every rank has every key that was put before it,
// except those of agents that sent invalid messages; a barrier completes only with every host; memory is
// bounded.
// 2. If no host is lost, every rank gets all its replies.
// 3. If a host is lost, every other rank gets all its replies or waits in a barrier that was reported as
// stuck.
//
// The input: one byte for the tree, one for each of its hosts (ranks and parent), then steps. A step is one
// byte: which queue to deliver from, or from kLose on what else to do, with its parameters in the bytes that
// follow.
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/job_over_hosts.h"
#include "fuzz_input.h"
#include "wire/key_values.h"

namespace wireup::fuzz {
namespace {

constexpr unsigned kLose = 0xf0;
constexpr unsigned kInject = 0xf4;
constexpr std::uint32_t kMostHosts = 6;
constexpr std::uint32_t kRounds = 3;
// The ranks of all hosts put about 500 bytes in one round.
constexpr std::uint64_t kLimit = 1 << 10;

void require(bool holds, int invariant, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what.c_str());
  std::abort();
}

class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}
  bool empty() const { return rest_.empty(); }
  unsigned next() {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return byte;
  }
  std::string_view take(std::size_t size) {
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  std::string_view rest_;
};

test::JobPlan read_plan(Input& input) {
  test::JobPlan plan;
  plan.rounds = kRounds;
  plan.part = 64;
  plan.limit = kLimit;
  const unsigned head = input.next();
  const std::uint32_t count = 2 + head % (kMostHosts - 1);
  for (std::uint32_t host = 0; host < count; ++host) {
    const unsigned byte = input.next();
    plan.hosts.push_back({host == 0 ? 0 : (byte >> 2) % host, (byte & 3) % 3});
  }
  // There is at least one rank.
  if (head >= 0x80)
    ++plan.hosts.back().ranks;
  else
    ++plan.hosts.front().ranks;
  return plan;
}

// Entries, of which some are valid. They never replace a key of a rank.
std::string read_keys(Input& input) {
  std::string keys;
  for (unsigned entries = input.next() % 4; entries > 0; --entries) {
    const unsigned byte = input.next();
    const unsigned number = byte >> 2;
    switch (byte & 3) {
      case 0:
        keys += input.take(number);
        break;
      case 1:
        wire::append_key_value(keys, std::string(number, 'x'), std::string(20 * number, 'v'));
        break;
      default:
        wire::append_key_value(keys, "x" + std::to_string(number), "v");
        break;
    }
  }
  return keys;
}

std::size_t memory_in_use() { return mallinfo2().uordblks; }

void check(const test::JobOverHosts& job) {
  require(job.errors().empty(), 1, job.errors().empty() ? "" : job.errors().front());
}

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  Input input(std::string_view(reinterpret_cast<const char*>(data), size));
  const wireup::test::JobPlan plan = read_plan(input);
  const auto hosts = static_cast<std::uint32_t>(plan.hosts.size());
  const std::size_t before = memory_in_use();
  wireup::test::JobOverHosts job(plan);
  while (!input.empty()) {
    const unsigned what = input.next();
    if (what < kLose) {
      job.deliver([what](std::size_t queues) { return what % queues; });
    } else if (what < kInject) {
      job.lose(input.next() % hosts);
    } else {
      const std::uint32_t host = input.next() % hosts;
      const unsigned flags = input.next();
      // Usually of the current barrier.
      const std::uint64_t barrier = job.barrier(host) + (flags >> 2 & 7) / 7;
      job.inject(host, (flags & 1) != 0, barrier, read_keys(input), (flags & 2) != 0);
    }
    check(job);
  }
  job.finish([](std::size_t queues) { return queues - 1; });
  check(job);
  bool lost = false;
  bool exempt = false;
  for (std::uint32_t host = 0; host < hosts; ++host) {
    lost = lost || job.is_lost(host);
    exempt = exempt || job.is_exempt(host);
  }
  for (std::uint32_t rank = 0; rank < job.size(); ++rank) {
    const std::uint32_t host = job.host_of(rank);
    if (job.is_done(rank) || job.is_lost(host)) continue;
    require(lost || exempt, 2, "a rank got no reply");
    require(exempt || job.stuck(host) == 1, 3, "a rank waits, which was not reported");
  }
  constexpr std::size_t kJob = 2 << 20;
  require(memory_in_use() <= before + kJob + 32 * size, 1, "more memory than the job explains");
  return 0;
}
