#include "tools/tap/proxy.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "os/error.h"

namespace wireup::tap {
namespace {

// Whether the other end has been closed completely.
bool hung_up(int socket) {
  pollfd entry{socket, 0, 0};
  return ::poll(&entry, 1, 0) == 1 && (entry.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace

Proxy::Proxy(os::UniqueFd program, os::UniqueFd server, ProxyObserver& observer)
    : observer_(observer),
      program_{std::move(program)},
      server_{std::move(server)},
      flows_{Flow{wire::Side::client, program_, server_}, Flow{wire::Side::server, server_, program_}} {}

void Proxy::run() {
  while (!flows_[0].finished || !flows_[1].finished) {
    std::array<pollfd, 2> entries{};
    for (std::size_t i = 0; i < entries.size(); ++i) {
      const Socket& from = flows_[i].from;
      const short events = wanted(from);
      // poll(2) reports a hang-up also if no event is wanted. It matters only after the last byte of that
      // side.
      const bool waits = !from.gone && (events != 0 || flows_[i].ended);
      entries[i] = {waits ? from.fd.get() : -1, events, 0};
    }
    if (::poll(entries.data(), entries.size(), -1) < 0) {
      if (errno == EINTR) continue;
      throw os::OsError::last("poll");
    }
    for (std::size_t i = 0; i < entries.size(); ++i) {
      Flow& out = flows_[i];
      Flow& in = flows_[1 - i];
      const short events = entries[i].revents;
      const bool has_hung_up = (events & (POLLHUP | POLLERR | POLLNVAL)) != 0;
      // What a side sent before its end is passed on first.
      if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) receive(out);
      if ((events & POLLOUT) != 0) send(in);
      out.from.gone = out.from.gone || (has_hung_up && out.ended);
    }
    for (std::size_t i = 0; i < flows_.size(); ++i) {
      if (flows_[i].from.gone) refuse(flows_[1 - i]);
    }
  }
  for (const Flow& flow : flows_) {
    if (!flow.ended) observer_.ended(flow.side);
  }
  program_.fd.reset();
  server_.fd.reset();
}

short Proxy::wanted(const Socket& socket) const {
  short events = 0;
  for (const Flow& flow : flows_) {
    // Its end is noticed also if its bytes go nowhere.
    const bool can_receive = !flow.ended && flow.empty() && !(flow.finished && flow.to.gone);
    if (&flow.from == &socket && can_receive) events |= POLLIN;
    if (&flow.to == &socket && !flow.finished && !flow.empty()) events |= POLLOUT;
  }
  return events;
}

void Proxy::receive(Flow& flow) {
  if (flow.ended || !flow.empty()) return;
  const ssize_t size = ::recv(flow.from.fd.get(), flow.buffer.data(), flow.buffer.size(), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return end(flow);
  // The other side has gone. A side that still sends gets an error from its own socket.
  if (flow.finished) return;
  flow.begin = 0;
  flow.end = static_cast<std::size_t>(size);
  observer_.received(flow.side, {flow.buffer.data(), flow.end});
  send(flow);
}

void Proxy::send(Flow& flow) {
  while (!flow.empty() && !flow.finished) {
    const ssize_t sent = ::send(flow.to.fd.get(), flow.buffer.data() + flow.begin, flow.end - flow.begin,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) {
      flow.begin += static_cast<std::size_t>(sent);
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      return refuse(flow);
    }
  }
  if (flow.ended) end(flow);
}

void Proxy::end(Flow& flow) {
  if (!flow.ended) observer_.ended(flow.side);
  flow.ended = true;
  if (!flow.empty() || flow.finished) return;
  flow.finished = true;
  // After a close, the end of run() closes this side too. That is not the same: a server that keeps the
  // client's end open (Slurm's does) sees a shutdown, but no close.
  flow.from.gone = flow.from.gone || hung_up(flow.from.fd.get());
  if (!flow.from.gone) ::shutdown(flow.to.fd.get(), SHUT_WR);
}

void Proxy::refuse(Flow& flow) {
  flow.begin = flow.end;
  if (flow.finished) return;
  flow.finished = true;
  if (!hung_up(flow.to.fd.get())) ::shutdown(flow.from.fd.get(), SHUT_RD);
}

}  // namespace wireup::tap
