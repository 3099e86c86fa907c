// A server and a client that puts a business card and gets it `argv[1]` times, each on a thread of its own,
// for counting the instructions of the server's thread. The server does nothing else, so every run counts the
// same.
#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>

#include "os/reactor.h"
#include "runtime/server_driver.h"

using namespace wireup;

int main(int, char** argv) {
  const std::string kvsname = "wireup-0123456789abcdef";
  os::Reactor reactor;
  engine::ProcessGroupOptions options;
  options.kvsname = kvsname;
  options.layout = engine::Layout::single_node(1);
  runtime::ServerDriver server(reactor, std::move(options), {}, {.on_event = [](const engine::Event&) {}});
  os::UniqueFd end = server.open_channel(0);
  std::thread client([&] {
    const auto ask = [&](const std::string& request, std::string_view expected) {
      char answer[1024];
      if (::send(end.get(), request.data(), request.size(), 0) < 0) std::abort();
      const ssize_t size = ::recv(end.get(), answer, sizeof answer, 0);
      if (size < 0 || std::string_view(answer, static_cast<std::size_t>(size)) != expected) std::abort();
    };
    const std::string card(128, 'x');
    const std::string of_card = " kvsname=" + kvsname + " key=card-0-0";
    ask("cmd=init pmi_version=1 pmi_subversion=1\n",
        "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n");
    ask("cmd=put" + of_card + " value=" + card + "\n", "cmd=put_result rc=0 msg=success\n");
    for (int left = std::atoi(argv[1]); left > 0; --left) {
      ask("cmd=get" + of_card + "\n", "cmd=get_result rc=0 msg=success value=" + card + "\n");
    }
    reactor.stop();
  });
  reactor.run();
  client.join();
}
