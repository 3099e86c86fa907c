// The greetings of links, with which both ends compare their versions.
#pragma once

#include <string>

#include "wire/link_framer.h"

namespace wireup::runtime {

wire::LinkGreeting own_greeting();

// For people: the peer's version is another one.
std::string other_version(const wire::LinkGreeting& there);

}  // namespace wireup::runtime
