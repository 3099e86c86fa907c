// The limit of keys, values and node attributes.
#include <memory>
#include <string>

#include "engine/process_group_support.h"

namespace wireup::engine {
namespace {

ProcessGroupOptions small_options(std::uint64_t limit) {
  ProcessGroupOptions custom = options(2);
  custom.space = std::make_shared<Space>(limit);
  return custom;
}

TEST_CASE("process group: keys and values have a limit, and a refused put changes nothing") {
  // Enough for the process mapping and three entries of 128 + 2 + 70 bytes.
  constexpr std::uint64_t kLimit = 4 * 200;
  const std::string value(70, 'v');
  const auto put = [&](int number) {
    return "cmd=put key=k" + std::to_string(number) + " value=" + value + "\n";
  };
  const auto frame_of = [](const std::string& text) {
    std::string length = std::to_string(text.size());
    return std::string(6 - length.size(), ' ') + length + text;
  };
  ProcessGroup group(small_options(kLimit));
  Effects effects;
  group.open_channel(0, 0);
  group.open_channel(1, 1);
  group.receive(0, kInit, effects);
  group.receive(1, "cmd=init pmi_version=2 pmi_subversion=0\n" + frame_of("cmd=fullinit;pmirank=1;"),
                effects);
  effects.clear();
  group.receive(0, put(0) + put(1) + put(2), effects);
  CHECK(sent(effects, 0) == repeated("cmd=put_result rc=0 msg=success\n", 3));
  CHECK(events(effects).empty());
  effects.clear();
  group.receive(0, put(3) + put(4), effects);
  CHECK(sent(effects, 0) == repeated("cmd=put_result rc=2 msg=too_many_keys_and_values\n", 2));
  // The event is reported once.
  REQUIRE(events(effects).size() == 1);
  CHECK(events(effects)[0].type == EventType::protocol_error);
  CHECK(events(effects)[0].message == "put: the keys and values of the job exceed the limit of 800 bytes");
  effects.clear();
  group.receive(1,
                frame_of("cmd=kvs-put;key=x;value=" + value + ";") +
                    frame_of("cmd=info-putnodeattr;key=x;value=" + value + ";"),
                effects);
  CHECK(sent(effects, 1) ==
        frame_of("cmd=kvs-put-response;rc=2;errmsg=too_many_keys_and_values;") +
            frame_of("cmd=info-putnodeattr-response;rc=2;errmsg=too_many_keys_and_values;"));
  effects.clear();
  group.receive(0, "cmd=get key=k2\ncmd=get key=k3\n", effects);
  CHECK(sent(effects, 0) ==
        "cmd=get_result rc=0 msg=success value=" + value + "\ncmd=get_result rc=-1 msg=key_not_found\n");
  // A shorter value frees memory, a longer one takes it.
  effects.clear();
  group.receive(0,
                "cmd=put key=k0 value=\ncmd=put key=k1 value=\ncmd=put key=k2 value=\ncmd=put key=k3 value=" +
                    value + "\ncmd=put key=k0 value=" + std::string(900, 'w') + "\n",
                effects);
  CHECK(sent(effects, 0) == repeated("cmd=put_result rc=0 msg=success\n", 4) +
                                "cmd=put_result rc=2 msg=too_many_keys_and_values\n");
}

TEST_CASE("process group: node attributes count too, and waiting ranks get theirs") {
  ProcessGroup group(small_options(600));
  Effects effects;
  group.open_channel(0, 0);
  group.receive(0, "cmd=init pmi_version=2 pmi_subversion=0\n    23cmd=fullinit;pmirank=0;", effects);
  std::string last;
  int stored = 0;
  for (; stored < 100; ++stored) {
    effects.clear();
    const std::string text = "cmd=info-putnodeattr;key=k" + std::to_string(stored) + ";value=v;";
    group.receive(
        0, std::string(6 - std::to_string(text.size()).size(), ' ') + std::to_string(text.size()) + text,
        effects);
    last = sent(effects, 0);
    if (last.find("rc=0") == std::string::npos) break;
  }
  CHECK(stored == 3);
  CHECK(last.find("rc=2;") != std::string::npos);
}

TEST_CASE("process group: process groups share the limit of a Space, and return their part") {
  const auto space = std::make_shared<Space>(2000);
  const auto fill = [&](ProcessGroup& group) {
    Effects effects;
    group.open_channel(0, 0);
    group.receive(0, std::string(kInit), effects);
    int stored = 0;
    for (; stored < 100; ++stored) {
      effects.clear();
      group.receive(0, "cmd=put key=k" + std::to_string(stored) + " value=" + std::string(100, 'v') + "\n",
                    effects);
      if (sent(effects, 0).find("rc=0") == std::string::npos) break;
    }
    return stored;
  };
  const auto make = [&] {
    ProcessGroupOptions custom = options(1);
    custom.space = space;
    custom.preput = {{"given", "value"}};
    return std::make_unique<ProcessGroup>(std::move(custom));
  };
  auto first = make();
  const int all = fill(*first);
  CHECK(all > 5);
  auto second = make();
  CHECK(fill(*second) == 0);
  // The preput keys exist even if the space is full.
  CHECK(second->status().kvs_entries == 2);
  second.reset();
  first.reset();
  first = make();
  CHECK(fill(*first) == all);
}

}  // namespace
}  // namespace wireup::engine
