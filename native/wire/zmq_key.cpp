#include "wire/zmq_key.h"

#include <array>
#include <cstdint>

namespace wireup::wire {
namespace {

constexpr std::string_view kDigits =
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

}  // namespace

std::string encode_z85(std::string_view bytes) {
  if (bytes.size() % 4 != 0) return {};
  std::string text;
  for (; !bytes.empty(); bytes.remove_prefix(4)) {
    std::uint32_t number = 0;
    for (const char byte : bytes.substr(0, 4)) number = number << 8 | static_cast<unsigned char>(byte);
    std::array<char, 5> digits{};
    for (std::size_t i = digits.size(); i > 0; --i) {
      digits[i - 1] = kDigits[number % kDigits.size()];
      number /= kDigits.size();
    }
    text.append(digits.data(), digits.size());
  }
  return text;
}

bool is_z85(std::string_view text) {
  return text.size() % 5 == 0 && text.find_first_not_of(kDigits) == std::string_view::npos;
}

bool same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned different = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    different |= static_cast<unsigned>(static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]));
  return different == 0;
}

}  // namespace wireup::wire
