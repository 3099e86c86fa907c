// The events of a ClientSession, by type.
#pragma once

#include <variant>
#include <vector>

#include "engine/client_session.h"

namespace wireup::engine {

template <class T>
std::vector<T> all(const ClientEffects& effects) {
  std::vector<T> list;
  for (const ClientEvent& event : effects.events) {
    if (const T* found = std::get_if<T>(&event)) list.push_back(*found);
  }
  return list;
}

}  // namespace wireup::engine
