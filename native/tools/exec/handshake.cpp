#include "tools/exec/handshake.h"

#include <string_view>
#include <utility>
#include <variant>

#include "engine/client_session.h"
#include "tools/client/failure.h"
#include "tools/client/talk.h"

namespace wireup::exec {
namespace {

using client::Failure;

[[noreturn]] void refused(const engine::Failed& failed, const std::string& address) {
  switch (failed.reason) {
    case engine::Failed::Reason::protocol:
      throw Failure("what answers at " + address + " is not a PMI-1 server: " + failed.message);
    case engine::Failed::Reason::refused:
    case engine::Failed::Reason::hung_up:
      break;
  }
  throw Failure("the PMI server at " + address + " refused us: " + failed.message +
                "; PMI_ID is not one of its job's or has been used, or the job is over. Start the rank "
                "through its launcher");
}

}  // namespace

Identity handshake(const client::Connection& connection, const std::string& pmi_id,
                   const client::Deadline& deadline, const HandshakeObserver& observer) {
  engine::ClientOptions options;
  options.pmi_id = pmi_id;
  options.handshake_only = true;
  engine::ClientSession session(std::move(options));
  engine::ClientEffects effects;
  client::Talk talk(connection.socket.get(), connection.address);

  session.start(effects);
  for (;;) {
    for (const engine::ClientEvent& event : effects.events) {
      if (const auto* ready = std::get_if<engine::Ready>(&event)) return {ready->info.rank, ready->info.size};
      if (const auto* failed = std::get_if<engine::Failed>(&event)) refused(*failed, connection.address);
    }
    if (observer && !effects.send.empty()) observer(wire::Side::client, effects.send);
    talk.send(effects.send, deadline);
    effects.clear();
    const std::string_view bytes = talk.receive(deadline);
    if (observer) observer(wire::Side::server, bytes);
    if (bytes.empty()) {
      session.eof(effects);
    } else {
      session.receive(bytes, effects);
    }
  }
}

}  // namespace wireup::exec
