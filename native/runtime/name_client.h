// A launch's connection to a name server: queries out, answers in, in order. If the server closes the
// connection, stops answering or sends a malformed message, the connection is given up for good: queries that
// wait, and all later ones, are answered with NameError::gone.
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
#include "os/unique_function.h"
#include "runtime/notice.h"
#include "wire/address.h"
#include "wire/framer.h"

namespace wireup::runtime {

// The time that the server has for an answer. It is short because a rank waits for the answer; the server
// does nothing that takes time.
inline constexpr std::chrono::seconds kNameAnswer{10};

class NameClient final : public os::StreamObserver {
 public:
  // Called once. Without an error the client can be asked.
  using OnOpen = os::UniqueFunction<void(std::optional<Error>)>;
  using OnAnswer = os::UniqueFunction<void(const engine::NameAnswer&)>;
  // Null: the connection is lost.
  using OnPage = os::UniqueFunction<void(const wire::names::Page*)>;

  // `kvsname` is that of the process group that asks, for people; it may be empty.
  NameClient(os::Reactor& reactor, wire::UnixAddress address, std::string kvsname,
             std::chrono::milliseconds timeout = kNameAnswer);
  ~NameClient() override;

  // Connects. `on_open` is called once, perhaps before open() returns; `on_loss` if the connection is lost
  // after that.
  void open(OnOpen on_open, std::function<void()> on_loss = nullptr);
  // Both are for an open client. The callback is called once, before the method returns if the connection is
  // lost.
  void ask(engine::NameRequest request, OnAnswer on_answer);
  void list(std::string after, OnPage on_page);

 private:
  struct Query {
    wire::names::Message message;
    // One of the two is set.
    OnAnswer on_answer;
    OnPage on_page;
  };

  void connect();
  void greeted(const wire::names::Welcome& welcome);
  void push(Query query);
  void pump();
  void answer(const wire::names::Message& message);
  void on_bytes(os::Stream& stream, std::string_view bytes) override;
  void on_end(os::Stream& stream, int error) override;
  static void report_loss(Query& query);
  void fail(const std::string& reason, int error = 0, std::string syscall = {});
  void expect_answer();

  os::Reactor& reactor_;
  wire::UnixAddress address_;
  std::string kvsname_;
  std::chrono::milliseconds timeout_;
  OnOpen on_open_;  // empty once it has been called
  std::function<void()> on_loss_;
  std::unique_ptr<os::Stream> stream_;
  wire::FrameFramer framer_{wire::names::kMaxFrameToClient};
  std::deque<Query> asked_;
  std::deque<Query> waiting_;
  bool gone_ = false;  // the connection is lost
  os::Reactor::TimerId timer_ = 0;
  os::Reactor::TimerId retry_ = 0;
};

}  // namespace wireup::runtime
