// Lets a method that calls out know whether its object went, or gave up its work, during the call.
//
// The object holds a Lifetime; the method makes a Watch of it on its stack and looks at gone() after each
// call. A watch costs no memory and no atomic operation: one is made for each request of a rank. Threads:
// one.
#pragma once

#include <utility>

namespace wireup::os {

class Lifetime {
 public:
  class Watch {
   public:
    explicit Watch(Lifetime& lifetime)
        : lifetime_(lifetime.ended_ ? nullptr : &lifetime), outer_(lifetime.inner_) {
      if (lifetime_ != nullptr) lifetime_->inner_ = this;
    }
    ~Watch() {
      if (lifetime_ != nullptr) lifetime_->inner_ = outer_;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    bool gone() const { return lifetime_ == nullptr; }

   private:
    friend class Lifetime;
    Lifetime* lifetime_;  // null: it has ended
    Watch* outer_;        // made before this one, and still there
  };

  Lifetime() = default;
  ~Lifetime() { end(); }
  Lifetime(const Lifetime&) = delete;
  Lifetime& operator=(const Lifetime&) = delete;

  void end() {
    ended_ = true;
    for (Watch* watch = std::exchange(inner_, nullptr); watch != nullptr; watch = watch->outer_) {
      watch->lifetime_ = nullptr;
    }
  }

 private:
  bool ended_ = false;
  Watch* inner_ = nullptr;  // the latest watch
};

}  // namespace wireup::os
