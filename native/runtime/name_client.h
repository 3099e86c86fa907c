// A launch's connection to a name server: queries out, answers in, in order. When the server goes, falls
// silent or speaks nonsense the connection is given up for good: what was asked, and whatever is asked later,
// is answered with NameError::gone.
//
// Threads: the reactor's. No callback may destroy the client.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "engine/names.h"
#include "os/reactor.h"
#include "os/stream.h"
#include "runtime/notice.h"
#include "wire/address.h"
#include "wire/framer.h"

namespace wireup::runtime {

// Until the server answers, the first query and each that follows. A rank waits for it, so it is short;
// the server does nothing that takes time.
inline constexpr std::chrono::seconds kNameAnswer{10};

class NameClient final : public os::StreamObserver {
 public:
  // Without a fault it can be asked.
  using OnOpen = std::function<void(std::optional<Error>)>;
  using OnAnswer = std::function<void(const engine::NameAnswer&)>;
  // Null: the server has gone.
  using OnPage = std::function<void(const wire::names::Page*)>;

  // `kvsname`: who asks, for people; may be empty. `address` is a unix one.
  NameClient(os::Reactor& reactor, wire::UnixAddress address, std::string kvsname,
             std::chrono::milliseconds timeout = kNameAnswer);
  ~NameClient() override;

  // Connects; `on_open` is called once, perhaps from within. `on_loss`, when the server is lost later.
  void open(OnOpen on_open, std::function<void()> on_loss = nullptr);
  // Once it is open. Called back once, from within where the server has gone.
  void ask(engine::NameRequest request, OnAnswer on_answer);
  void list(std::string after, OnPage on_page);

 private:
  struct SpawnQuery {
    wire::names::Message message;
    OnAnswer on_answer;  // or
    OnPage on_page;
  };

  void connect();
  void greeted(const wire::names::Welcome& welcome);
  void push(SpawnQuery query);
  void pump();
  void answer(const wire::names::Message& message);
  void on_bytes(os::Stream& stream, std::string_view bytes) override;
  void on_end(os::Stream& stream, int error) override;
  void fail(const std::string& reason, int error = 0, std::string syscall = {});
  void expect_answer();

  os::Reactor& reactor_;
  wire::UnixAddress address_;
  std::string kvsname_;
  std::chrono::milliseconds timeout_;
  OnOpen on_open_;  // until it has been called
  std::function<void()> on_loss_;
  std::unique_ptr<os::Stream> stream_;
  wire::FrameFramer framer_{wire::names::kMaxFrameToClient};
  std::deque<SpawnQuery> asked_;
  std::deque<SpawnQuery> waiting_;
  bool gone_ = false;
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::TimerId retry_ = 0;
};

}  // namespace wireup::runtime
