// A callable object that can be moved but not copied, so it can own file descriptors and pointers.
// It replaces std::move_only_function, which is C++23. A call of an empty one is undefined.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace wireup::os {

template <typename Signature>
class UniqueFunction;

template <typename Result, typename... Arguments>
class UniqueFunction<Result(Arguments...)> {
 public:
  UniqueFunction() = default;
  UniqueFunction(std::nullptr_t) {}
  template <typename Function>
  requires(!std::same_as<std::remove_cvref_t<Function>, UniqueFunction> &&
           std::is_invocable_r_v<Result, std::decay_t<Function>&, Arguments...>)
      UniqueFunction(Function&& function)
      : target_(new std::decay_t<Function>(std::forward<Function>(function)),
                [](void* target) { delete static_cast<std::decay_t<Function>*>(target); }),
        call_([](void* target, Arguments... arguments) -> Result {
          return (*static_cast<std::decay_t<Function>*>(target))(std::forward<Arguments>(arguments)...);
        }) {}

  explicit operator bool() const { return target_ != nullptr; }
  Result operator()(Arguments... arguments) {
    return call_(target_.get(), std::forward<Arguments>(arguments)...);
  }

 private:
  // No virtual functions: UBSan opens a pipe to check the first object of a polymorphic type, which fails in
  // tests that use up all descriptors.
  std::unique_ptr<void, void (*)(void*)> target_{nullptr, [](void*) {}};
  Result (*call_)(void*, Arguments...) = nullptr;
};

}  // namespace wireup::os
