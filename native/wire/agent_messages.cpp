// The layout: one byte of kind, then the fields in the order of the struct. Integers are little-endian, a
// string is its length (32 bits) and its bytes, a list is its count (32 bits) and its elements.
#include "wire/agent_messages.h"

#include <type_traits>

namespace wireup::wire::agent {
namespace {

constexpr std::size_t kLengthBytes = 4;
// Kind, id, three list counts, the lengths of `directory` and `path`, `last`.
constexpr std::size_t kProgramOverhead = 1 + 4 + 3 * kLengthBytes + 2 * kLengthBytes + 1;

class Writer {
 public:
  void u8(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void u32(std::uint32_t value) {
    for (int shift = 0; shift < 32; shift += 8) u8(static_cast<std::uint8_t>(value >> shift));
  }
  void field(bool value) { u8(value ? 1 : 0); }
  void field(OutputMode value) { u8(static_cast<std::uint8_t>(value)); }
  void field(BindingUnit value) { u8(static_cast<std::uint8_t>(value)); }
  void field(std::uint32_t value) { u32(value); }
  void field(std::int32_t value) { u32(static_cast<std::uint32_t>(value)); }
  void field(const std::string& value) {
    u32(static_cast<std::uint32_t>(value.size()));
    out_ += value;
  }
  template <typename T>
    requires std::is_class_v<T>
  void field(const T& value);
  template <typename T>
  void field(const std::vector<T>& values) {
    u32(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) field(value);
  }
  std::string take() { return std::move(out_); }

 private:
  std::string out_;
};

// Reads on after a failure as if zeros followed; ok() tells at the end.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  std::uint8_t u8() {
    if (in_.empty()) return fail();
    const auto value = static_cast<std::uint8_t>(in_.front());
    in_.remove_prefix(1);
    return value;
  }
  std::uint32_t u32() {
    if (in_.size() < 4) return fail();
    std::uint32_t value = 0;
    for (int shift = 0; shift < 32; shift += 8) value |= static_cast<std::uint32_t>(u8()) << shift;
    return value;
  }
  void field(bool& value) {
    const std::uint8_t byte = u8();
    if (byte > 1) fail();
    value = byte == 1;
  }
  void field(OutputMode& value) { enumerator(value, OutputMode::discard); }
  void field(BindingUnit& value) { enumerator(value, BindingUnit::list); }
  void field(std::uint32_t& value) { value = u32(); }
  void field(std::int32_t& value) { value = static_cast<std::int32_t>(u32()); }
  void field(std::string& value) {
    const std::uint32_t size = u32();
    if (size > in_.size()) {
      fail();
      return;
    }
    value.assign(in_.substr(0, size));
    in_.remove_prefix(size);
  }
  template <typename T>
    requires std::is_class_v<T>
  void field(T& value);
  template <typename T>
  void field(std::vector<T>& values) {
    const std::uint32_t count = u32();
    // Every element takes at least four bytes, so a count that lies cannot make us reserve more than the
    // packet.
    if (count > in_.size() / kLengthBytes) {
      fail();
      return;
    }
    values.resize(count);
    for (T& value : values) {
      field(value);
      if (!ok_) return;
    }
  }
  bool done() const { return ok_ && in_.empty(); }

 private:
  template <typename T>
  void enumerator(T& value, T last) {
    const std::uint8_t byte = u8();
    if (byte > static_cast<std::uint8_t>(last)) fail();
    value = static_cast<T>(byte);
  }

  std::uint8_t fail() {
    ok_ = false;
    in_ = {};
    return 0;
  }

  std::string_view in_;
  bool ok_ = true;
};

// The fields of each message, once for both directions.
template <typename Codec, typename M>
void fields(Codec& codec, M& m) {
  using T = std::remove_const_t<M>;
  if constexpr (std::is_same_v<T, Hello>) {
    codec.field(m.version);
    codec.field(m.out);
    codec.field(m.err);
    codec.field(m.label);
    codec.field(m.spawned_label);
    codec.field(m.stdin_readers);
    codec.field(m.binding);
  } else if constexpr (std::is_same_v<T, SocketFolder>) {
    codec.field(m.path);
  } else if constexpr (std::is_same_v<T, OutputPlan>) {
    codec.field(m.mode);
    codec.field(m.file);
  } else if constexpr (std::is_same_v<T, Binding>) {
    codec.field(m.unit);
    codec.field(m.sets);
  } else if constexpr (std::is_same_v<T, Program>) {
    codec.field(m.id);
    codec.field(m.directory);
    codec.field(m.path);
    codec.field(m.prefix);
    codec.field(m.args);
    codec.field(m.environment);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, SpawnRank>) {
    codec.field(m.process);
    codec.field(m.group);
    codec.field(m.rank);
    codec.field(m.environment);
    codec.field(m.fds);
    codec.field(m.node);
    codec.field(m.host);
    codec.field(m.own_host);
    codec.field(m.reads_stdin);
    codec.field(m.silent);
  } else if constexpr (std::is_same_v<T, Spawn>) {
    codec.field(m.program);
    codec.field(m.ranks);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, Signal>) {
    codec.field(m.signal);
    codec.field(m.processes);
  } else if constexpr (std::is_same_v<T, End>) {
    codec.field(m.grace_ms);
  } else if constexpr (std::is_same_v<T, Status>) {
    codec.field(m.line);
  } else if constexpr (std::is_same_v<T, Ready>) {
    codec.field(m.version);
    codec.field(m.pid);
    codec.field(m.host);
  } else if constexpr (std::is_same_v<T, Started>) {
    codec.field(m.process);
    codec.field(m.pid);
    codec.field(m.cpus);
  } else if constexpr (std::is_same_v<T, SpawnFailed>) {
    codec.field(m.process);
    codec.field(m.error);
    codec.field(m.syscall);
    codec.field(m.subject);
  } else if constexpr (std::is_same_v<T, Exited>) {
    codec.field(m.process);
    codec.field(m.signaled);
    codec.field(m.value);
    codec.field(m.core_dumped);
    codec.field(m.ended);
  } else if constexpr (std::is_same_v<T, OutputLost>) {
    codec.field(m.error);
    codec.field(m.subject);
  } else {
    static_assert(std::is_same_v<T, Printed> || std::is_same_v<T, Done>);
  }
}

template <typename T>
  requires std::is_class_v<T>
void Writer::field(const T& value) {
  fields(*this, value);
}

template <typename T>
  requires std::is_class_v<T>
void Reader::field(T& value) {
  fields(*this, value);
}

template <std::size_t Kind = 0>
std::optional<Message> decode_kind(std::size_t kind, Reader& reader) {
  if constexpr (Kind == std::variant_size_v<Message>) {
    return std::nullopt;
  } else {
    if (kind != Kind) return decode_kind<Kind + 1>(kind, reader);
    std::variant_alternative_t<Kind, Message> message;
    fields(reader, message);
    if (!reader.done()) return std::nullopt;
    return Message(std::move(message));
  }
}

}  // namespace

std::string encode(const Message& message) {
  Writer writer;
  writer.u8(static_cast<std::uint8_t>(message.index()));
  std::visit([&writer](const auto& m) { fields(writer, m); }, message);
  return writer.take();
}

std::optional<Message> decode(std::string_view packet) {
  if (packet.empty()) return std::nullopt;
  Reader reader(packet);
  return decode_kind(reader.u8(), reader);
}

std::vector<Program> split(Program program, std::size_t limit) {
  std::vector<Program> parts;
  const std::size_t first = kProgramOverhead + program.directory.size() + program.path.size();
  if (first > limit) return {};
  Program part;
  part.id = program.id;
  part.last = false;
  part.directory = std::move(program.directory);
  part.path = std::move(program.path);
  std::size_t size = first;

  for (auto list : {&Program::prefix, &Program::args, &Program::environment}) {
    for (std::string& text : program.*list) {
      const std::size_t needed = kLengthBytes + text.size();
      if (kProgramOverhead + needed > limit) return {};
      if (size + needed > limit) {
        parts.push_back(std::move(part));
        part = Program{};
        part.id = program.id;
        part.last = false;
        size = kProgramOverhead;
      }
      (part.*list).push_back(std::move(text));
      size += needed;
    }
  }
  part.last = true;
  parts.push_back(std::move(part));
  return parts;
}

}  // namespace wireup::wire::agent
