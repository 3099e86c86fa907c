#include "tools/libpmi/library.h"

#include "wire/printable.h"

namespace wireup::libpmi {

Library& library() {
  static auto* const state = new Library;
  return *state;
}

void complain(const char* what) { std::fprintf(stderr, "libpmi2: %s\n", wire::printable(what).c_str()); }

}  // namespace wireup::libpmi
