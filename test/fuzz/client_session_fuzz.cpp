// Fuzzes ClientSession with what a server may say, cut in any way, while requests are made. What must hold:
//
//   1. No undefined behaviour (sanitizers), no exception.
//   2. What is said is whole lines, each within the line limit, and none after the end.
//   3. Answers come in the order of the requests, one each, and none after Failed; Ready comes at most once,
//   and
//      before any answer of the server's.
//   4. Never more is in flight than the window allows: lines said are at most lines heard and the window.
//   5. How bytes are cut does not change what happens: the same steps byte by byte give the same.
//
// The input: its first byte chooses the kind of client, then steps as in fuzz_input.h, where the connection
// of a step chooses the request that is made before its bytes are received. A violation aborts, with its
// number.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "engine/client_session.h"
#include "fuzz_input.h"
#include "wire/framer.h"

namespace wireup::fuzz {
namespace {

void require(bool holds, int invariant, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what);
  std::abort();
}

engine::ClientOptions options_of(unsigned kind) {
  engine::ClientOptions options;
  options.size = 2;
  if ((kind & 1) != 0) options.pmi_id = "7";
  options.handshake_only = (kind & 6) == 6;
  options.window = (kind & 8) != 0 ? 3 : 1;
  if ((kind & 16) != 0 && !options.handshake_only) options.version = wire::Version::v2;
  if ((kind & 32) != 0) options.subversion = 2;
  return options;
}

class Client {
 public:
  Client(unsigned kind, bool byte_by_byte)
      : options_(options_of(kind)), byte_by_byte_(byte_by_byte), session_(options_) {
    session_.start(effects_);
    check();
  }

  void run(const Step& step) {
    ask(step.connection, step.bytes);
    if (step.kind == Step::Kind::hang_up) {
      session_.eof(effects_);
      check();
      return;
    }
    if (byte_by_byte_) {
      for (const char& byte : step.bytes) {
        if (byte == '\n') ++heard_;
        session_.receive({&byte, 1}, effects_);
        check();
      }
    } else {
      heard_ += static_cast<std::size_t>(std::ranges::count(step.bytes, '\n'));
      session_.receive(step.bytes, effects_);
      check();
    }
  }

  bool same_as(const Client& other) const { return sent_ == other.sent_ && told_ == other.told_; }

 private:
  void ask(std::uint32_t which, std::string_view text) {
    // Keys of any bytes: what cannot be said must not be.
    const std::string_view key = text.substr(0, std::min<std::size_t>(text.size(), 70));
    engine::RequestId id = 0;
    switch ((which + text.size()) % 12) {
      case 0:
        id = session_.get(key, effects_);
        break;
      case 1:
        id = session_.put("k", text, effects_);
        break;
      case 2:
        id = session_.get("k", effects_);
        break;
      case 3:
        id = session_.barrier(text.size() % 2 == 0 ? std::string_view() : "0,1:1", effects_);
        break;
      case 4:
        id = session_.publish(key, text, effects_);
        break;
      case 5:
        id = session_.lookup(key, effects_);
        break;
      case 6:
        id = session_.finalize(effects_);
        break;
      case 7:
        id = session_.get_node_attribute(key, true, effects_);
        break;
      case 8:
        id = session_.put_node_attribute("k", text, effects_);
        break;
      case 9:
        id = session_.get_job_attribute(key, effects_);
        break;
      case 10:
        id = session_.spawn({{{std::string(key), {std::string(text)}, 2, {}}}, {{"k", "v"}}}, effects_);
        break;
      default:
        session_.abort(3, text, effects_);
        break;
    }
    // An answer may be among the effects by now; once over, there is none.
    if (id != 0 && !over_) asked_.push_back(id);
    check();
  }

  void check() {
    const std::string& said = effects_.send;
    require(!over_ || said.empty(), 2, "something is said after the end");
    for (std::size_t begin = 0; begin < said.size();) {
      std::string_view rest = std::string_view(said).substr(begin);
      if (!in_block_ && !rest.starts_with("cmd=") && !rest.starts_with("mcmd=")) {
        std::string_view frame;
        wire::FrameFramer framer(wire::kMaxFrame);
        require(framer.next(rest, frame) == wire::FrameFramer::Result::frame, 2, "half a frame is said");
        require(frame.starts_with("cmd=") && frame.ends_with(';'), 2, "what is said is no command");
        begin = said.size() - rest.size();
        continue;
      }
      require(said.find('\n', begin) != std::string::npos, 2, "half a line is said");
      const std::size_t end = said.find('\n', begin);
      const std::string_view line = std::string_view(said).substr(begin, end - begin);
      require(line.size() < engine::kMaxLine, 2, "a line is over the limit");
      in_block_ = in_block_ || line.starts_with("mcmd=");
      require(in_block_ || line.starts_with("cmd="), 2, "what is said is no command");
      if (line == "endcmd") in_block_ = false;
      if (!in_block_ && !line.starts_with("cmd=abort")) ++said_;
      begin = end + 1;
    }
    // Frames are not counted.
    require(said_ <= heard_ + options_.window || options_.version == wire::Version::v2, 4,
            "more is in flight than the window allows");
    sent_ += said;
    for (const engine::ClientEvent& event : effects_.events) on_event(event);
    over_ = over_ || effects_.close;
    effects_.clear();
  }

  void on_event(const engine::ClientEvent& event) {
    require(!over_, 3, "an event comes after the end");
    if (const auto* answer = std::get_if<engine::Answer>(&event)) {
      require(!asked_.empty() && asked_.front() == answer->request, 3,
              "an answer is out of order, or nobody asked");
      asked_.pop_front();
      told_ += "answer " + std::to_string(answer->rc) + " " + answer->value + "\n";
    } else if (std::holds_alternative<engine::Ready>(event)) {
      require(!std::exchange(ready_, true), 3, "ready twice");
      told_ += "ready\n";
    } else {
      over_ = true;
      told_ += "failed " + std::get<engine::Failed>(event).message + "\n";
    }
  }

  engine::ClientOptions options_;
  bool byte_by_byte_;
  engine::ClientSession session_;
  engine::ClientEffects effects_;
  std::deque<engine::RequestId> asked_;
  std::string sent_;
  std::string told_;
  bool in_block_ = false;  // of an mcmd
  std::size_t said_ = 0;
  std::size_t heard_ = 0;  // lines
  bool ready_ = false;
  bool over_ = false;
};

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  Client whole(data[0], false);
  Client bytes(data[0], true);
  for (const Step& step : read_steps(input.substr(1))) {
    whole.run(step);
    bytes.run(step);
    require(whole.same_as(bytes), 5, "what happens depends on how the bytes were cut");
  }
  return 0;
}
