#include "wire/agent_messages.h"

#include <type_traits>

#include "wire/packet.h"

namespace wireup::wire::agent {
namespace {

// Bytes of an encoded Program without its strings: the kind, `id`, three list counts, the lengths of
// `directory` and `path`, and `last`.
constexpr std::size_t kProgramOverhead = 1 + 4 + 3 * kLengthBytes + 2 * kLengthBytes + 1;

}  // namespace

constexpr OutputMode last_of(OutputMode) { return OutputMode::discard; }
constexpr BindingUnit last_of(BindingUnit) { return BindingUnit::list; }

template <typename Codec, typename M>
void fields(Codec& codec, M& m) {
  using T = std::remove_const_t<M>;
  if constexpr (std::is_same_v<T, Hello>) {
    Hello::visit_fields(m, [&codec](auto&... values) { (codec.field(values), ...); });
  } else if constexpr (std::is_same_v<T, PassFds>) {
    codec.field(m.fds);
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
  } else if constexpr (std::is_same_v<T, StartRank>) {
    codec.field(m.task);
    codec.field(m.group);
    codec.field(m.rank);
    codec.field(m.environment);
    codec.field(m.fds);
    codec.field(m.node);
    codec.field(m.host);
    codec.field(m.pretend_host);
    codec.field(m.reads_stdin);
    codec.field(m.silent);
  } else if constexpr (std::is_same_v<T, Start>) {
    codec.field(m.program);
    codec.field(m.ranks);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, Signal>) {
    codec.field(m.signal);
    codec.field(m.tasks);
  } else if constexpr (std::is_same_v<T, End>) {
    codec.field(m.grace_ms);
  } else if constexpr (std::is_same_v<T, Status>) {
    codec.field(m.line);
  } else if constexpr (std::is_same_v<T, Ready>) {
    codec.field(m.version);
    codec.field(m.pid);
    codec.field(m.host);
  } else if constexpr (std::is_same_v<T, Started>) {
    codec.field(m.task);
    codec.field(m.pid);
    codec.field(m.cpus);
  } else if constexpr (std::is_same_v<T, StartFailed>) {
    codec.field(m.task);
    codec.field(m.error);
    codec.field(m.syscall);
    codec.field(m.subject);
  } else if constexpr (std::is_same_v<T, Exited>) {
    codec.field(m.task);
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

std::string encode(const Message& message) { return encode_packet(message); }

std::optional<Message> decode(std::string_view packet) { return decode_packet<Message>(packet); }

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
