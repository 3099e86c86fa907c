// A link between two agents over a byte stream: a greeting in each direction, then frames.
//
// The greeting is one line: "wireup-agent", the protocol's version, and the release of wireup. Later versions
// may add words. The agent that was started sends its greeting first. Before it, there may be noise: the text
// that a login shell prints. So the greeting starts a line of its own. After the greetings come frames: the
// length of a packet in 32 bits, little-endian, and the packet. A frame of length 0 is a heartbeat.
//
// The framer's results depend on the bytes only, not on how reads split them. It never keeps more bytes than
// it has received, or than its limits allow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wireup::wire {

struct LinkGreeting {
  std::uint32_t protocol = 0;
  std::string release = {};  // may be empty
};

// The greeting as a line, with its newline.
std::string encode_greeting(const LinkGreeting& greeting);

// Puts the length of `packet` before it.
std::string encode_frame(std::string packet);

inline constexpr std::string_view kHeartbeat{"\0\0\0\0", 4};

class LinkFramer {
 public:
  // `max_noise`: how many bytes may precede the greeting. `max_packet`: the longest packet, in bytes.
  LinkFramer(std::size_t max_noise, std::size_t max_packet)
      : max_noise_(max_noise), max_packet_(max_packet) {}

  enum class Result { greeting, packet, more, invalid };

  // Removes the next part from the front of `input`.
  // - greeting: once, before any packet; see greeting().
  // - packet: `packet` is valid until the next call and while the memory of `input` is. It is not empty.
  // - more: all of `input` was consumed.
  // - invalid: too much noise, or too long a packet. The stream cannot be parsed any further.
  Result next(std::string_view& input, std::string_view& packet);

  const std::optional<LinkGreeting>& greeting() const { return greeting_; }
  // What came before the greeting; without a greeting, all that has come, up to the limit.
  const std::string& noise() const { return noise_; }
  // The bytes of an incomplete packet. They are lost if the stream ends now.
  std::size_t pending() const { return complete_ ? 0 : header_size_ + buffer_.size(); }

 private:
  Result find_greeting(std::string_view& input);
  Result find_packet(std::string_view& input, std::string_view& packet);

  std::size_t max_noise_;
  std::size_t max_packet_;
  bool invalid_ = false;
  std::string noise_;
  std::size_t line_ = 0;  // in noise_: where its last line begins
  std::optional<LinkGreeting> greeting_;
  std::array<unsigned char, 4> header_{};
  std::size_t header_size_ = 0;  // bytes in header_, until the length is known
  std::size_t length_ = 0;       // of the packet; 0: not known
  std::string buffer_;           // a packet that is split between reads
  bool complete_ = false;        // buffer_ is the packet that next() returned last
};

}  // namespace wireup::wire
