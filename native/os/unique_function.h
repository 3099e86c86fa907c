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
      : target_(std::make_unique<Holder<std::decay_t<Function>>>(std::forward<Function>(function))) {}

  explicit operator bool() const { return target_ != nullptr; }
  Result operator()(Arguments... arguments) { return target_->call(std::forward<Arguments>(arguments)...); }

 private:
  struct Target {
    virtual ~Target() = default;
    virtual Result call(Arguments... arguments) = 0;
  };
  template <typename Function>
  struct Holder final : Target {
    explicit Holder(Function held) : function(std::move(held)) {}
    Result call(Arguments... arguments) override { return function(std::forward<Arguments>(arguments)...); }
    Function function;
  };

  std::unique_ptr<Target> target_;
};

}  // namespace wireup::os
