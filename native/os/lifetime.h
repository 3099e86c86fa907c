// Lets a method detect that a callback has destroyed its object, or ended its work.
//
// The object has a Lifetime. The method puts a Watch of it on its stack and checks gone() after each
// callback. Each request of a rank makes a watch, so a watch allocates nothing and uses no atomic operation.
// Threads: one.
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
    Lifetime* lifetime_;  // null: ended
    Watch* outer_;        // the one made before this, if it still exists
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
