// Fuzzes what a recording makes of the bytes of a connection, however reads split them. These invariants must
// hold:
//
// 1. No undefined behaviour (the sanitizers check that), and no exception.
// 2. No byte is lost: the messages of each side, with their newlines and lengths, are the bytes of that side.
// 3. Each record is one line, without control characters and bytes that are not UTF-8.
// 4. A masked message contains no PMI_ID that the unmasked one has.
//
// The first byte of the input chooses the size of the reads. Then come reads: one byte with the side and the
// length, and the bytes. A violation prints its number to stderr and aborts.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "wire/message_splitter.h"
#include "wire/recording.h"
#include "wire/utf8.h"

namespace wireup::fuzz {
namespace {

void require(bool holds, int invariant, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "invariant %d: %s\n", invariant, what);
  std::abort();
}

void check_line(const std::string& line) {
  require(!line.empty() && line.back() == '\n', 3, "a record without an end");
  std::string_view left = std::string_view(line).substr(0, line.size() - 1);
  while (!left.empty()) {
    const wire::Character character = wire::first_character(left);
    require(character.valid && character.code >= 0x20, 3, "a record is not one line of UTF-8");
    left.remove_prefix(character.size);
  }
}

struct Sides {
  std::array<std::string, 2> sent;
  std::array<std::string, 2> rebuilt;

  void add(wire::Side side, const wire::CutMessage& message) {
    std::string& bytes = rebuilt[static_cast<std::size_t>(side)];
    (bytes += message.length) += message.content;
    if (message.framing == wire::Framing::line) bytes += '\n';
    for (const wire::RecordForm form : {wire::RecordForm::json, wire::RecordForm::text}) {
      std::string line;
      wire::append_record(line, form, {.rank = 1}, side, message);
      check_line(line);
    }
    const auto masked = wire::mask_secrets(message);
    if (!masked) return;
    require(masked->find("pmiid=1234567") == std::string::npos, 4, "pmiid");
    require(masked->find("pmirank=1234567") == std::string::npos, 4, "pmirank");
  }
};

void play(std::string_view reads, std::size_t chunk) {
  wire::MessageSplitter splitter(100);
  Sides sides;
  while (reads.size() > 1) {
    const auto head = static_cast<unsigned char>(reads[0]);
    const auto side = static_cast<wire::Side>(head & 1);
    const std::string_view bytes = reads.substr(1, head >> 1);
    reads.remove_prefix(1 + bytes.size());
    sides.sent[head & 1] += bytes;
    for (std::size_t at = 0; at < bytes.size(); at += chunk) {
      std::string_view input = bytes.substr(at, chunk);
      while (const auto message = splitter.next(side, input)) sides.add(side, *message);
      require(input.empty(), 2, "bytes are left");
    }
  }
  for (const wire::Side side : {wire::Side::client, wire::Side::server}) {
    if (const auto message = splitter.rest(side)) sides.add(side, *message);
  }
  require(sides.sent == sides.rebuilt, 2, "the bytes differ");
}

}  // namespace
}  // namespace wireup::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace wireup::fuzz;
  if (size < 1) return 0;
  const std::string_view reads{reinterpret_cast<const char*>(data) + 1, size - 1};
  play(reads, 1000);
  play(reads, 1);
  play(reads, data[0] % 50 + 1);
  return 0;
}
