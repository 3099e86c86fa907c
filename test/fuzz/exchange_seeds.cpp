// Jobs on trees of each size with random steps. In some a host is lost, in some an agent sends a message of
// its own.
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fuzz_input.h"

namespace wireup::fuzz {

std::vector<std::string> seeds() {
  constexpr unsigned kLose = 0xf0;  // see exchange_fuzz.cpp
  constexpr unsigned kInject = 0xf4;
  std::mt19937 random(1);
  std::vector<std::string> list;
  for (unsigned number = 0; number < 60; ++number) {
    std::string input(1, static_cast<char>(random()));
    for (unsigned host = 0; host < 6; ++host) input += static_cast<char>(random());
    for (unsigned steps = random() % 600; steps > 0; --steps) input += static_cast<char>(random() % kLose);
    if (number % 3 == 1) input += {static_cast<char>(kLose), static_cast<char>(random())};
    if (number % 3 == 2) {
      input += static_cast<char>(kInject);
      for (unsigned bytes = 0; bytes < 20; ++bytes) input += static_cast<char>(random());
    }
    for (unsigned steps = random() % 300; steps > 0; --steps) input += static_cast<char>(random() % kLose);
    list.push_back(std::move(input));
  }
  return list;
}

}  // namespace wireup::fuzz
