#include "runtime/name_client.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "os/error.h"
#include "os/socket_address.h"
#include "runtime/addresses.h"
#include "runtime/server_identity.h"
#include "runtime/timeouts.h"

namespace wireup::runtime {
namespace {

namespace names = wire::names;

// Queries that wait for answers at a time: far less than the server queues for a slow reader.
constexpr std::size_t kWindow = 64;

}  // namespace

NameClient::NameClient(os::Reactor& reactor, wire::UnixAddress address, std::string kvsname,
                       std::chrono::milliseconds timeout)
    : reactor_(reactor), address_(std::move(address)), kvsname_(std::move(kvsname)), timeout_(timeout) {}

NameClient::~NameClient() {
  reactor_.cancel(timer_);
  reactor_.cancel(retry_);
}

void NameClient::open(OnOpen on_open, std::function<void()> on_loss) {
  on_open_ = std::move(on_open);
  on_loss_ = std::move(on_loss);
  expect_answer();
  connect();
}

void NameClient::connect() {
  try {
    // A unix socket is connected when its connect has begun.
    os::UniqueFd socket = os::connect_start(to_socket_address(address_));
    if (const std::string reason = why_not_trusted(socket.get()); !reason.empty()) return fail(reason, EPERM);
    stream_ = std::make_unique<os::Stream>(reactor_, std::move(socket), *this);
  } catch (const os::OsError& error) {
    const int number = error.code().value();
    if (number == EAGAIN) {
      retry_ = reactor_.after(kBacklogRetry, [this] {
        retry_ = 0;
        connect();
      });
      return;
    }
    const bool no_server = number == ENOENT || number == ECONNREFUSED;
    const std::string uri = wire::to_uri(address_);
    return fail(std::strerror(number) +
                    (no_server ? ": start one there with `wireup names serve --address " + uri + "`" : ""),
                number, error.syscall());
  }
  stream_->send(encode(names::Hello{.kvsname = kvsname_}));
}

void NameClient::ask(engine::NameRequest request, OnAnswer on_answer) {
  push({names::Ask{std::move(request)}, std::move(on_answer), nullptr});
}

void NameClient::list(std::string after, OnPage on_page) {
  push({names::List{std::move(after)}, nullptr, std::move(on_page)});
}

void NameClient::push(Query query) {
  if (gone_) return report_loss(query);
  waiting_.push_back(std::move(query));
  pump();
}

void NameClient::pump() {
  while (!waiting_.empty() && asked_.size() < kWindow) {
    if (asked_.empty()) expect_answer();
    stream_->send(encode(waiting_.front().message));
    asked_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void NameClient::expect_answer() {
  reactor_.cancel(timer_);
  timer_ = reactor_.after(timeout_, [this] {
    timer_ = 0;
    fail("no answer within " + std::to_string(timeout_.count()) + " ms", ETIMEDOUT);
  });
}

void NameClient::on_bytes(os::Stream&, std::string_view bytes) {
  for (std::string_view frame; !gone_;) {
    const auto result = framer_.next(bytes, frame);
    if (result == wire::FrameFramer::Result::more) return;
    const auto message = result == wire::FrameFramer::Result::frame ? names::decode(frame) : std::nullopt;
    if (!message) return fail("the server there is not a name server", EPROTO);
    answer(*message);
  }
}

void NameClient::answer(const names::Message& message) {
  reactor_.cancel(std::exchange(timer_, 0));
  if (const auto* welcome = std::get_if<names::Welcome>(&message); welcome != nullptr && on_open_)
    return greeted(*welcome);
  const auto* reply = std::get_if<names::Reply>(&message);
  const auto* page = std::get_if<names::Page>(&message);
  const bool expected = !asked_.empty() && (asked_.front().on_answer ? reply != nullptr : page != nullptr);
  if (!expected) return fail("the server there is not a name server", EPROTO);
  Query query = std::move(asked_.front());
  asked_.pop_front();
  if (!asked_.empty()) expect_answer();
  pump();
  return reply != nullptr ? query.on_answer(reply->answer) : query.on_page(page);
}

void NameClient::greeted(const names::Welcome& welcome) {
  if (welcome.version != names::kProtocolVersion) {
    return fail("the name server belongs to another version of wireup: its protocol version is " +
                    std::to_string(welcome.version) + ", ours is " + std::to_string(names::kProtocolVersion),
                EPROTO);
  }
  std::exchange(on_open_, nullptr)(std::nullopt);
}

void NameClient::on_end(os::Stream&, int error) {
  fail(error == 0 ? "the name server closed the connection" : std::strerror(error),
       error == 0 ? ECONNRESET : error, "recv");
}

void NameClient::fail(const std::string& reason, int error, std::string syscall) {
  gone_ = true;
  stream_.reset();
  reactor_.cancel(std::exchange(timer_, 0));
  reactor_.cancel(std::exchange(retry_, 0));
  if (on_open_) {
    const std::string message = "name server " + wire::to_uri(address_) + ": " + reason;
    return std::exchange(on_open_, nullptr)(Error{"ERR_PMI_NAME_SERVER", message, error, std::move(syscall)});
  }
  if (on_loss_) on_loss_();
  std::deque<Query> open = std::exchange(asked_, {});
  for (Query& query : std::exchange(waiting_, {})) open.push_back(std::move(query));
  for (Query& query : open) report_loss(query);
}

void NameClient::report_loss(Query& query) {
  if (query.on_answer) {
    query.on_answer({engine::NameError::gone});
  } else {
    query.on_page(nullptr);
  }
}

}  // namespace wireup::runtime
