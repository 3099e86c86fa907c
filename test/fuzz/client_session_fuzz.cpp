// Fuzzes ClientSession with replies of a server, however reads split them, while requests are made. These
// invariants must hold:
//
// 1. No undefined behaviour (the sanitizers check that), and no exception.
// 2. The client sends complete lines within the limit, and nothing after the end.
// 3. Each request has at most one answer, in the order of the requests, and there is none after Failed. Ready
// comes at most once, before any answer of the server.
// 4. The window limits the requests in flight: the client has sent at most as many lines as it has received
// plus the window.
// 5. The effects do not depend on how reads split the bytes: the same steps byte by byte have the same
// effects.
//
// The first byte of the input chooses the kind of client. Steps follow as in fuzz_input.h. The connection of
// a step chooses the request that is made before its bytes are received. A violation prints its number to
// stderr and aborts.
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
    request(step.connection, step.bytes);
    if (step.kind == Step::Kind::hang_up) {
      session_.eof(effects_);
      check();
      return;
    }
    if (byte_by_byte_) {
      for (const char& byte : step.bytes) {
        if (byte == '\n') ++received_lines_;
        session_.receive({&byte, 1}, effects_);
        check();
      }
    } else {
      received_lines_ += static_cast<std::size_t>(std::ranges::count(step.bytes, '\n'));
      session_.receive(step.bytes, effects_);
      check();
    }
  }

  bool same_as(const Client& other) const { return sent_ == other.sent_ && events_ == other.events_; }

 private:
  void request(std::uint32_t which, std::string_view text) {
    // Keys and values have any bytes. The client must refuse those that the wire cannot carry.
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
    // The answer may already be among the effects. After the end there is none.
    if (id != 0 && !over_) pending_.push_back(id);
    check();
  }

  void check() {
    const std::string& sent = effects_.send;
    require(!over_ || sent.empty(), 2, "bytes are sent after the end");
    for (std::size_t begin = 0; begin < sent.size();) {
      std::string_view rest = std::string_view(sent).substr(begin);
      if (!in_block_ && !rest.starts_with("cmd=") && !rest.starts_with("mcmd=")) {
        std::string_view frame;
        wire::FrameFramer framer(wire::kMaxFrame);
        require(framer.next(rest, frame) == wire::FrameFramer::Result::frame, 2,
                "an incomplete frame is sent");
        require(frame.starts_with("cmd=") && frame.ends_with(';'), 2, "a frame without a command is sent");
        begin = sent.size() - rest.size();
        continue;
      }
      require(sent.find('\n', begin) != std::string::npos, 2, "an incomplete line is sent");
      const std::size_t end = sent.find('\n', begin);
      const std::string_view line = std::string_view(sent).substr(begin, end - begin);
      require(line.size() < engine::kMaxLine, 2, "a line is over the limit");
      in_block_ = in_block_ || line.starts_with("mcmd=");
      require(in_block_ || line.starts_with("cmd="), 2, "a line without a command is sent");
      if (line == "endcmd") in_block_ = false;
      if (!in_block_ && !line.starts_with("cmd=abort")) ++sent_lines_;
      begin = end + 1;
    }
    // Frames are not counted.
    require(sent_lines_ <= received_lines_ + options_.window || options_.version == wire::Version::v2, 4,
            "more is in flight than the window allows");
    sent_ += sent;
    for (const engine::ClientEvent& event : effects_.events) on_event(event);
    over_ = over_ || effects_.close;
    effects_.clear();
  }

  void on_event(const engine::ClientEvent& event) {
    require(!over_, 3, "an event comes after the end");
    if (const auto* answer = std::get_if<engine::Answer>(&event)) {
      require(!pending_.empty() && pending_.front() == answer->request, 3,
              "an answer is out of order or has no request");
      pending_.pop_front();
      events_ += "answer " + std::to_string(answer->rc) + " " + answer->value + "\n";
    } else if (std::holds_alternative<engine::Ready>(event)) {
      require(!std::exchange(ready_, true), 3, "ready twice");
      events_ += "ready\n";
    } else {
      over_ = true;
      events_ += "failed " + std::get<engine::Failed>(event).message + "\n";
    }
  }

  engine::ClientOptions options_;
  bool byte_by_byte_;
  engine::ClientSession session_;
  engine::ClientEffects effects_;
  std::deque<engine::RequestId> pending_;
  std::string sent_;
  std::string events_;
  bool in_block_ = false;  // inside an mcmd block
  std::size_t sent_lines_ = 0;
  std::size_t received_lines_ = 0;
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
    require(whole.same_as(bytes), 5, "the effects depend on how reads split the bytes");
  }
  return 0;
}
