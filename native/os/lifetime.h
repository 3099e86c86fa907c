// Lets a method that calls out know whether its object went, or gave up its work, during the call.
//
// The object holds a Lifetime; the method makes a Watch of it and looks at gone() after each call. Threads:
// one.
#pragma once

#include <memory>

namespace wireup::os {

class Lifetime {
 public:
  class Watch {
   public:
    explicit Watch(const Lifetime& lifetime) : ended_(lifetime.ended_) {}
    bool gone() const { return *ended_; }

   private:
    std::shared_ptr<const bool> ended_;
  };

  Lifetime() = default;
  ~Lifetime() { end(); }
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  void end() { *ended_ = true; }

 private:
  std::shared_ptr<bool> ended_ = std::make_shared<bool>(false);
};

}  // namespace wireup::os
