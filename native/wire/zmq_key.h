// Keys of links over ZeroMQ as text, and the comparison of secrets.
#pragma once

#include <string>
#include <string_view>

namespace wireup::wire {

// Z85 (ZeroMQ's RFC 32): five characters for four bytes. Empty if the size is no multiple of four.
std::string encode_z85(std::string_view bytes);

bool is_z85(std::string_view text);

// Whether they are equal, in a time that depends on the sizes only.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace wireup::wire
