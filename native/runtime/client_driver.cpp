#include "runtime/client_driver.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "os/error.h"
#include "os/socket_address.h"
#include "runtime/addresses.h"
#include "runtime/server_identity.h"
#include "runtime/timeouts.h"

namespace wireup::runtime {
namespace {

Error fault(std::string code, const std::string& where, int error, std::string syscall) {
  return Error{std::move(code), where + ": " + std::strerror(error), error, std::move(syscall)};
}

}  // namespace

ClientDriver::ClientDriver(os::Reactor& reactor, ConnectOptions options, Handle handle, NoticeSink& sink,
                           std::function<void()> on_end)
    : reactor_(reactor),
      options_(std::move(options)),
      handle_(handle),
      sink_(sink),
      on_end_(std::move(on_end)),
      session_(options_.session) {
  // No timer and no handler may survive an exception.
  try {
    open();
  } catch (...) {
    cancel_timers();
    stop_connecting();
    throw;
  }
}

void ClientDriver::open() {
  if (options_.timeout > std::chrono::milliseconds::zero()) {
    timer_ = reactor_.after(options_.timeout, [this] {
      timer_ = 0;
      fail(Error{"ERR_PMI_TIMEOUT",
                 server() + ": no PMI answer within " + std::to_string(options_.timeout.count()) + " ms",
                 ETIMEDOUT});
    });
  }
  start();
}

ClientDriver::~ClientDriver() {
  cancel_timers();
  stop_connecting();
}

void ClientDriver::start() {
  if (options_.fd >= 0) {
    struct stat status {};
    if (fstat(options_.fd, &status) < 0) return fail(fault("ERR_PMI_CONNECT", server(), errno, "fstat"));
    // A stale PMI_FD may be the number of another file of this process, which must stay open.
    if (!S_ISSOCK(status.st_mode)) return fail(fault("ERR_PMI_CONNECT", server(), ENOTSOCK, "fstat"));
    // Another client of this process uses the fd already. A later failure would close it.
    if (reactor_.watches(options_.fd)) return fail(fault("ERR_PMI_CONNECT", server(), EBUSY, "epoll_ctl"));
    fcntl(options_.fd, F_SETFD, FD_CLOEXEC);
    return connected(os::UniqueFd(options_.fd));
  }
  try {
    connecting_ = os::connect_start(to_socket_address(*options_.address));
    reactor_.add(connecting_.get(), EPOLLOUT, *this);
  } catch (const os::OsError& error) {
    connecting_.reset();
    if (error.code().value() == EAGAIN) {
      retry_ = reactor_.after(kBacklogRetry, [this] { start(); });
      return;
    }
    fail(fault("ERR_PMI_CONNECT", server(), error.code().value(), error.syscall()));
  }
}

void ClientDriver::on_ready(std::uint32_t) {
  reactor_.remove(connecting_.get(), *this);
  os::UniqueFd socket = std::move(connecting_);
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return fail(fault("ERR_PMI_CONNECT", server(), error, "connect"));
  if (const std::string reason = why_not_trusted(socket.get()); !reason.empty()) {
    return fail(Error{"ERR_PMI_SERVER_UID", server() + ": " + reason + "; PMI_ID was not sent", EPERM});
  }
  connected(std::move(socket));
}

void ClientDriver::connected(os::UniqueFd socket) {
  try {
    stream_ = std::make_unique<os::Stream>(reactor_, std::move(socket), *this);
  } catch (const os::OsError& error) {
    return fail(fault("ERR_PMI_CONNECT", server(), error.code().value(), error.syscall()));
  }
  session_.start(effects_);
  apply();
}

void ClientDriver::request(RequestId first, ClientOperation operation, const std::vector<ClientItem>& items) {
  if (ended_) return;
  // The session may answer at once (a key that PMI cannot carry), so the effects are applied after all ids
  // have been stored.
  for (const ClientItem& item : items) requests_.emplace_back(ask(operation, item), first++);
  apply();
}

void ClientDriver::spawn(RequestId id, const engine::SpawnRequest& spawn) {
  if (ended_) return;
  requests_.emplace_back(session_.spawn(spawn, effects_), id);
  apply();
}

engine::RequestId ClientDriver::ask(ClientOperation operation, const ClientItem& item) {
  switch (operation) {
    case ClientOperation::put:
      return session_.put(item.key, item.value, effects_);
    case ClientOperation::get:
      return session_.get(item.key, effects_);
    case ClientOperation::barrier:
      return session_.barrier(item.key, effects_);
    case ClientOperation::publish:
      return session_.publish(item.key, item.value, effects_);
    case ClientOperation::unpublish:
      return session_.unpublish(item.key, effects_);
    case ClientOperation::lookup:
      return session_.lookup(item.key, effects_);
    case ClientOperation::put_node_attribute:
      return session_.put_node_attribute(item.key, item.value, effects_);
    case ClientOperation::get_node_attribute:
      return session_.get_node_attribute(item.key, false, effects_);
    case ClientOperation::wait_node_attribute:
      return session_.get_node_attribute(item.key, true, effects_);
    case ClientOperation::get_job_attribute:
      return session_.get_job_attribute(item.key, effects_);
    case ClientOperation::finalize:
      break;
  }
  return session_.finalize(effects_);
}

std::string ClientDriver::server() const {
  return options_.fd >= 0 ? "PMI_FD=" + std::to_string(options_.fd) : wire::to_uri(*options_.address);
}

void ClientDriver::abort(std::int32_t exit_code, std::string_view message) {
  if (ended_) return;
  session_.abort(exit_code, message, effects_);
  apply();
}

void ClientDriver::close() {
  if (ended_) return;
  if (stream_) {
    ended_ = true;
    stream_->close_after_flush(kFlushTimeout);
  } else {
    finish();
  }
}

void ClientDriver::on_bytes(os::Stream&, std::string_view bytes) {
  if (ended_) return;
  session_.receive(bytes, effects_);
  apply();
}

void ClientDriver::on_end(os::Stream&, int error) {
  stream_.reset();
  if (ended_) return finish();
  if (error != 0) return fail(fault("ERR_PMI_HUNG_UP", server(), error, "recv"));
  session_.eof(effects_);
  apply();
  if (!ended_) finish();
}

void ClientDriver::apply() {
  if (stream_ && !effects_.send.empty()) stream_->send(effects_.send);
  const bool close = effects_.close;
  std::vector<engine::ClientEvent> events = std::move(effects_.events);
  effects_.clear();
  Answers together{};
  for (engine::ClientEvent& event : events) {
    if (auto* answer = std::get_if<engine::Answer>(&event)) {
      tell(std::move(*answer), together);
      continue;
    }
    tell(together);
    if (auto* ready = std::get_if<engine::Ready>(&event)) {
      reactor_.cancel(std::exchange(timer_, 0));
      sink_.notify(handle_, std::move(*ready));
    } else {
      auto& failed = std::get<engine::Failed>(event);
      failed.message = server() + ": " + failed.message;
      return fail(std::move(failed));
    }
  }
  tell(together);
  if (close) this->close();
}

// Joins successive answers: a notice for each of them would cost many times as much.
void ClientDriver::tell(engine::Answer answer, Answers& together) {
  // Answers come in the order of the requests.
  if (requests_.empty() || requests_.front().first != answer.request) return;
  answer.request = requests_.front().second;
  requests_.pop_front();
  const bool plain = answer.rc == 0 && answer.errcodes.empty();
  const bool joins = plain && answer.request == together.first + together.values.size();
  if (!joins) tell(together);
  if (!plain) return sink_.notify(handle_, std::move(answer));
  if (together.values.empty()) together.first = answer.request;
  together.values.push_back(std::move(answer.value));
}

void ClientDriver::tell(Answers& together) {
  if (!together.values.empty()) sink_.notify(handle_, std::exchange(together, {}));
}

void ClientDriver::fail(Payload reason) {
  sink_.notify(handle_, std::move(reason));
  finish();
}

void ClientDriver::cancel_timers() {
  reactor_.cancel(std::exchange(timer_, 0));
  reactor_.cancel(std::exchange(retry_, 0));
}

void ClientDriver::stop_connecting() {
  if (!connecting_) return;
  reactor_.remove(connecting_.get(), *this);
  connecting_.reset();
}

void ClientDriver::finish() {
  ended_ = true;
  cancel_timers();
  // The driver is destroyed later; the connection may be established before that.
  stop_connecting();
  stream_.reset();
  sink_.notify(handle_, Closed{});
  on_end_();
}

}  // namespace wireup::runtime
