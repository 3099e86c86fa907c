#include "runtime/local_link.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include "os/error.h"

namespace wireup::runtime {
namespace {

constexpr char kLast = 0;
constexpr char kMore = 1;

// Of a packet, in one message.
constexpr std::size_t kMaxPart = os::kMaxMessage - 1;

}  // namespace

LocalLink::LocalLink(os::Reactor& reactor, os::UniqueFd socket, LinkObserver& observer)
    : observer_(observer) {
  socket_.emplace(reactor, std::move(socket), static_cast<os::MessageSocketObserver&>(*this));
}

void LocalLink::send(std::string packet, std::vector<os::UniqueFd> fds) {
  if (packet.empty() || packet.size() > kMaxPacket || fds.size() > os::kMaxFdsPerMessage) {
    throw os::OsError(EMSGSIZE, "sendmsg");
  }
  if (!socket_) return;
  std::size_t sent = 0;
  for (; packet.size() - sent > kMaxPart; sent += kMaxPart) {
    socket_->send(packet.substr(sent, kMaxPart) + kMore);
  }
  packet.erase(0, sent);
  packet += kLast;
  socket_->send(std::move(packet), std::move(fds));
}

void LocalLink::on_message(std::string_view message, std::optional<std::vector<os::UniqueFd>> fds) {
  const char mark = message.back();
  message.remove_suffix(1);
  const bool more = mark == kMore;
  const bool valid = (more || mark == kLast) && !message.empty() && (!more || (fds && fds->empty()));
  if (!valid || message.size() > kMaxPacket - beginning_.size()) {
    return end(LinkEnd::invalid, 0, "the peer sent an invalid message");
  }
  if (more) {
    beginning_ += message;
  } else if (beginning_.empty()) {
    observer_.on_link_packet(message, std::move(fds));
  } else {
    std::string packet = std::exchange(beginning_, {});
    packet += message;
    observer_.on_link_packet(packet, std::move(fds));
  }
}

void LocalLink::on_message_end(int error) {
  if (error == 0) return end(LinkEnd::closed, 0, "the peer closed the connection");
  if (error == EMSGSIZE) return end(LinkEnd::invalid, 0, "the peer sent an invalid message");
  end(LinkEnd::failed, error, "the connection failed: " + std::generic_category().message(error));
}

void LocalLink::end(LinkEnd why, int error, const std::string& detail) {
  socket_.reset();
  observer_.on_link_end(why, error, detail);
}

}  // namespace wireup::runtime
