#include "tools/agent/join.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <utility>

#include "os/error.h"
#include "os/fd.h"
#include "os/zmq_library.h"
#include "os/zmq_socket.h"
#include "runtime/link_version.h"
#include "runtime/listen_addresses.h"
#include "runtime/zmq_joins.h"
#include "wire/link_framer.h"

namespace wireup::agent {

namespace boot = wire::boot;

namespace {

constexpr std::size_t kJoinReadSize = 64 << 10;
// Characters of the name of a host: more than HOST_NAME_MAX.
constexpr std::size_t kHostNameSize = 256;

class Joining final : os::Handler {
 public:
  explicit Joining(os::Reactor& reactor) : reactor_(reactor), framer_(0, runtime::kMaxPacket) {
    os::set_nonblocking(STDIN_FILENO, true);
    reactor_.add(STDIN_FILENO, EPOLLIN, *this);
  }
  ~Joining() override { reactor_.remove(STDIN_FILENO, *this); }

  // When the reactor has stopped.
  JoinedTree take() {
    if (!error_.empty()) throw std::runtime_error(error_);
    return std::move(*tree_);
  }

 private:
  void on_ready(std::uint32_t) override {
    if (done_) return;
    try {
      if (read_some()) return;
    } catch (const std::exception& error) {
      error_ = error.what();
    }
    stop();
  }

  // Returns false at the end of stdin.
  bool read_some() {
    const ssize_t size = ::read(STDIN_FILENO, buffer_.data(), buffer_.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (size < 0) throw os::OsError::last("read", "stdin");
    if (size == 0) throw std::runtime_error("its stdin has ended");
    if (record_) return true;  // nothing else is expected
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(size));
    std::string_view packet;
    for (;;) {
      switch (framer_.next(bytes, packet)) {
        case wire::LinkFramer::Result::more:
          return true;
        case wire::LinkFramer::Result::greeting:
          if (framer_.greeting()->protocol != runtime::own_greeting().protocol)
            throw std::runtime_error(runtime::other_version(*framer_.greeting()));
          break;
        case wire::LinkFramer::Result::packet:
          join(packet);
          return true;
        case wire::LinkFramer::Result::invalid:
          throw std::runtime_error("its stdin has no boot record");
      }
    }
  }

  void join(std::string_view packet) {
    record_ = boot::decode_record(packet);
    if (!record_) throw std::runtime_error("the boot record cannot be read");
    const std::string name = own_name();
    const auto place = boot::place_of(*record_, name);
    if (!place) throw std::runtime_error("no host of the job has this name");
    const bool secure = !record_->root_key.empty();
    os::ZmqKeys keys;
    if (secure) {
      keys = os::make_zmq_keys();
    } else {
      keys.public_key = runtime::make_zmq_password();
    }
    tree_.emplace();
    std::vector<std::string> endpoints;
    if (boot::has_children(*place + 1, record_->width, record_->hosts.size())) {
      tree_->hub = std::make_unique<runtime::ZmqHub>(
          reactor_, runtime::ZmqHubOptions{.addresses = runtime::listen_addresses(record_->iface),
                                           .keys = secure ? keys : os::ZmqKeys{},
                                           .peers = record_->width});
      endpoints = tree_->hub->endpoints();
    }
    joiner_ = std::make_unique<runtime::ZmqJoiner>(
        reactor_, *record_, record_->hosts[*place], keys, std::move(endpoints), runtime::ZmqTiming{},
        [this, keys, secure](runtime::ZmqJoiner::Answer answer) {
          error_ = answer.error;
          tree_->port = std::move(answer.port);
          tree_->parent = {.endpoints = answer.joined.endpoints, .parent_key = answer.joined.parent_key};
          if (secure) {
            tree_->parent.keys = keys;
          } else {
            tree_->parent.password = keys.public_key;
          }
          stop();
        });
  }

  // A second stop would end the next run of the reactor.
  void stop() {
    if (!std::exchange(done_, true)) reactor_.stop();
  }

  os::Reactor& reactor_;
  wire::LinkFramer framer_;
  std::array<char, kJoinReadSize> buffer_;
  std::optional<boot::Record> record_;
  std::optional<JoinedTree> tree_;
  std::unique_ptr<runtime::ZmqJoiner> joiner_;
  std::string error_;
  bool done_ = false;
};

}  // namespace

std::string own_name() {
  if (const char* name = std::getenv("SLURMD_NODENAME"); name != nullptr && *name != '\0') return name;
  std::array<char, kHostNameSize> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : std::string();
}

JoinedTree join_tree(os::Reactor& reactor) {
  // It takes a while, in which the boot record arrives.
  os::ZmqLibrary::get();
  const auto joining = std::make_unique<Joining>(reactor);
  reactor.run();
  return joining->take();
}

}  // namespace wireup::agent
