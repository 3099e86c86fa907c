// Pairs of links of each kind, and an observer that keeps what it receives.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "os/support.h"
#include "runtime/link.h"
#include "runtime/local_link.h"

namespace wireup::runtime::test {

struct KeepingObserver final : LinkObserver {
  void on_link_packet(std::string_view packet, std::optional<std::vector<os::UniqueFd>> received) override {
    CHECK_FALSE(end.has_value());
    packets.emplace_back(packet);
    REQUIRE(received.has_value());
    for (auto& fd : *received) fds.push_back(std::move(fd));
    if (then) then();
  }
  void on_link_end(LinkEnd why, int errno_of_end, const std::string& detail_of_end) override {
    CHECK_FALSE(end.has_value());
    end = why;
    error = errno_of_end;
    detail = detail_of_end;
    if (at_end) at_end();
  }

  std::vector<std::string> packets;
  std::vector<os::UniqueFd> fds;
  std::optional<LinkEnd> end;
  int error = 0;
  std::string detail;
  std::function<void()> then;
  std::function<void()> at_end;
};

// A kind of link has the type of its raw ends, and makes a link of one. `parent` and `child` are the two
// sides.
struct Local {
  using End = os::UniqueFd;
  static std::pair<End, End> ends() {
    os::FdPair pair = os::seqpacket_pair();
    return {std::move(pair.first), std::move(pair.second)};
  }
  static std::unique_ptr<Link> parent(os::Reactor& reactor, End end, LinkObserver& observer) {
    return std::make_unique<LocalLink>(reactor, std::move(end), observer);
  }
  static constexpr auto child = parent;
};

}  // namespace wireup::runtime::test
