// Fuzzes LinkFramer with the bytes of a peer, however reads split them. These invariants must hold:
//
// 1. No undefined behaviour (the sanitizers check that), and no exception.
// 2. There is at most one greeting, before all packets, and nothing after the stream is invalid.
// 3. Noise and packets keep their limits. The framer keeps no more bytes than it has received.
// 4. The results do not depend on how reads split the bytes.
// 5. Noise, greeting and packets are in the stream, in this order, and between the packets there are only
// heartbeats.
//
// The first byte of the input chooses the limits, the second the size of the reads. A violation prints its
// number to stderr and aborts.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/link_framer.h"

namespace wireup::fuzz {
namespace {

// Of the greeting's line.
constexpr std::size_t kMaxLine = 256;

void require(bool holds, int invariant, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what);
  std::abort();
}

struct Limits {
  std::size_t noise;
  std::size_t packet;
};

struct Stream {
  std::string noise;
  std::string greeting;  // encoded
  std::string packets;   // encoded
  std::size_t pending = 0;
  bool invalid = false;
  bool operator==(const Stream&) const = default;
};

Stream read(std::string_view bytes, std::size_t chunk, const Limits& limits) {
  wire::LinkFramer framer(limits.noise, limits.packet);
  Stream stream;
  for (std::size_t received = 0; received < bytes.size(); received += chunk) {
    std::string_view input = bytes.substr(received, chunk);
    const std::size_t size = input.size();
    for (bool more = false; !more;) {
      std::string_view packet;
      const auto result = framer.next(input, packet);
      require(!stream.invalid || result == wire::LinkFramer::Result::invalid, 2, "a result after the end");
      switch (result) {
        case wire::LinkFramer::Result::greeting:
          require(stream.greeting.empty() && stream.packets.empty(), 2, "a second greeting");
          require(framer.greeting().has_value(), 2, "no greeting");
          stream.greeting = wire::encode_greeting(*framer.greeting());
          break;
        case wire::LinkFramer::Result::packet:
          require(!stream.greeting.empty(), 2, "a packet before the greeting");
          require(!packet.empty() && packet.size() <= limits.packet, 3, "the size of a packet");
          stream.packets += wire::encode_frame(std::string(packet));
          break;
        case wire::LinkFramer::Result::more:
          require(input.empty(), 4, "bytes are left");
          more = true;
          break;
        case wire::LinkFramer::Result::invalid:
          stream.invalid = true;
          more = true;
          break;
      }
      require(framer.noise().size() <= limits.noise + kMaxLine, 3, "the size of the noise");
      require(framer.noise().size() + framer.pending() <= received + size, 3,
              "it keeps more than it has got");
    }
  }
  stream.noise = framer.noise();
  stream.pending = framer.pending();
  return stream;
}

// The stream without noise, greeting and heartbeats.
std::string packets_in(std::string_view bytes, std::size_t begin) {
  bytes.remove_prefix(std::min(bytes.size(), begin));
  const std::size_t line = bytes.find('\n');
  bytes.remove_prefix(line == std::string_view::npos ? bytes.size() : line + 1);
  std::string packets;
  while (!bytes.empty()) {
    if (bytes.starts_with(wire::kHeartbeat)) {
      bytes.remove_prefix(wire::kHeartbeat.size());
      continue;
    }
    std::size_t size = 0;
    for (std::size_t i = 0; i < 4 && i < bytes.size(); ++i) {
      size |= std::size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
    }
    packets += bytes.substr(0, 4 + size);
    bytes.remove_prefix(std::min(bytes.size(), 4 + size));
  }
  return packets;
}

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  if (size < 2) return 0;
  const Limits limits{(data[0] & 1) != 0 ? 0U : 64U, (data[0] & 2) != 0 ? 16U << 20 : 100U};
  const std::size_t chunk = data[1] % 100 + 1;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 2, size - 2};
  const Stream whole = read(bytes, std::max<std::size_t>(bytes.size(), 1), limits);
  require(whole == read(bytes, 1, limits), 4, "byte by byte");
  require(whole == read(bytes, chunk, limits), 4, "in chunks");
  require(bytes.starts_with(whole.noise), 5, "the noise");
  if (!whole.greeting.empty()) {
    require(packets_in(bytes, whole.noise.size()).starts_with(whole.packets), 5, "the packets");
  } else {
    require(whole.packets.empty() && whole.pending == 0, 5, "packets without a greeting");
  }
  return 0;
}
