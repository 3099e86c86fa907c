#include "wire/agent_messages.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "wire/packet.h"

namespace wireup::wire::agent {
namespace {

// Kind and host.
constexpr std::size_t kHeaderBytes = 1 + 4;

// Bytes of an encoded Program without its strings: the header, `id`, three list counts, the lengths of
// `directory` and `path`, and `last`.
constexpr std::size_t kProgramOverhead = kHeaderBytes + 4 + 3 * kLengthBytes + 2 * kLengthBytes + 2;

}  // namespace

constexpr OutputMode last_of(OutputMode) { return OutputMode::discard; }
constexpr BindingUnit last_of(BindingUnit) { return BindingUnit::list; }
constexpr PmiMode last_of(PmiMode) { return PmiMode::port; }
constexpr PmiIdKind last_of(PmiIdKind) { return PmiIdKind::rank; }
constexpr OpenLine last_of(OpenLine) { return OpenLine::ended; }

template <typename Codec, typename M>
void fields(Codec& codec, M& m) {
  using T = std::remove_const_t<M>;
  if constexpr (std::is_same_v<T, Hello>) {
    Hello::visit_fields(m, [&codec](auto&... values) { (codec.field(values), ...); });
  } else if constexpr (std::is_same_v<T, OutputPlan>) {
    codec.field(m.mode);
    codec.field(m.file);
  } else if constexpr (std::is_same_v<T, Binding>) {
    codec.field(m.unit);
    codec.field(m.sets);
  } else if constexpr (std::is_same_v<T, Limit>) {
    codec.field(m.resource);
    codec.field(m.value);
  } else if constexpr (std::is_same_v<T, Inherited>) {
    codec.field(m.umask);
    codec.field(m.nice);
    codec.field(m.limits);
  } else if constexpr (std::is_same_v<T, TracePlan>) {
    codec.field(m.on);
    codec.field(m.json);
    codec.field(m.secrets);
    codec.field(m.start_ns);
    codec.field(m.ranks);
  } else if constexpr (std::is_same_v<T, PassFds>) {
    codec.field(m.fds);
  } else if constexpr (std::is_same_v<T, StartHost>) {
    codec.field(m.host);
    codec.field(m.name);
    codec.field(m.command);
    codec.field(m.environment);
    codec.field(m.stage);
    codec.field(m.timeout_ms);
    codec.field(m.same_host);
    codec.field(m.joins);
  } else if constexpr (std::is_same_v<T, StartTogether>) {
    codec.field(m.command);
    codec.field(m.environment);
    codec.field(m.hosts);
    codec.field(m.names);
    codec.field(m.width);
    codec.field(m.iface);
    codec.field(m.insecure);
  } else if constexpr (std::is_same_v<T, NotTogether>) {
    codec.field(m.reason);
  } else if constexpr (std::is_same_v<T, ExpectHost>) {
    codec.field(m.host);
    codec.field(m.key);
  } else if constexpr (std::is_same_v<T, Expected>) {
    codec.field(m.host);
  } else if constexpr (std::is_same_v<T, DropHost>) {
    codec.field(m.message);
  } else if constexpr (std::is_same_v<T, PlaceRun>) {
    codec.field(m.count);
    codec.field(m.node);
    codec.field(m.appnum);
  } else if constexpr (std::is_same_v<T, Node>) {
    codec.field(m.host);
    codec.field(m.name);
    codec.field(m.number);
  } else if constexpr (std::is_same_v<T, PrivateParent>) {
    codec.field(m.variable);
    codec.field(m.path);
  } else if constexpr (std::is_same_v<T, Group>) {
    codec.field(m.number);
    codec.field(m.first_task);
    codec.field(m.kvsname);
    codec.field(m.layout);
    codec.field(m.nodes);
    codec.field(m.pretend_hosts);
    codec.field(m.universe_size);
    codec.field(m.offer_1_2);
    codec.field(m.strict);
    codec.field(m.reported_entries);
    codec.field(m.spawner);
    codec.field(m.preput);
    codec.field(m.allowed_uids);
    codec.field(m.allowed_hosts);
    codec.field(m.pmi_id);
    codec.field(m.handshake_timeout_ms);
    codec.field(m.reconnect);
    codec.field(m.descendants_only);
    codec.field(m.pmi);
    codec.field(m.channel_fd);
    codec.field(m.address);
    codec.field(m.first_port);
    codec.field(m.last_port);
    codec.field(m.private_parents);
  } else if constexpr (std::is_same_v<T, ForgetGroup>) {
    codec.field(m.group);
  } else if constexpr (std::is_same_v<T, AdoptRank>) {
    codec.field(m.group);
    codec.field(m.pid);
  } else if constexpr (std::is_same_v<T, Program>) {
    codec.field(m.id);
    codec.field(m.directory);
    codec.field(m.path);
    codec.field(m.prefix);
    codec.field(m.args);
    codec.field(m.environment);
    codec.field(m.last);
    codec.field(m.exec_shim);
  } else if constexpr (std::is_same_v<T, StartRank>) {
    codec.field(m.rank);
    codec.field(m.program);
    codec.field(m.fds);
    codec.field(m.reads_stdin);
    codec.field(m.silent);
  } else if constexpr (std::is_same_v<T, Start>) {
    codec.field(m.group);
    codec.field(m.ranks);
  } else if constexpr (std::is_same_v<T, ForgetProgram>) {
    codec.field(m.program);
  } else if constexpr (std::is_same_v<T, Signal>) {
    codec.field(m.signal);
    codec.field(m.tasks);
  } else if constexpr (std::is_same_v<T, End>) {
    codec.field(m.grace_ms);
  } else if constexpr (std::is_same_v<T, Status>) {
    codec.field(m.line);
  } else if constexpr (std::is_same_v<T, Depart>) {
    codec.field(m.group);
    codec.field(m.ranks);
    codec.field(m.back);
  } else if constexpr (std::is_same_v<T, SpawnAnswer>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.rc);
    codec.field(m.message);
    codec.field(m.kvsname);
    codec.field(m.errcodes);
  } else if constexpr (std::is_same_v<T, NameAnswer>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.error);
    codec.field(m.port);
  } else if constexpr (std::is_same_v<T, BarrierAnswer>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.complete);
    codec.field(m.gone);
  } else if constexpr (std::is_same_v<T, QueryStatus>) {
    codec.field(m.id);
  } else if constexpr (std::is_same_v<T, Inspect>) {
    codec.field(m.id);
    codec.field(m.group);
    codec.field(m.ranks);
    codec.field(m.interval_ms);
    codec.field(m.stacks);
  } else if constexpr (std::is_same_v<T, Fence>) {
    codec.field(m.group);
    codec.field(m.number);
    codec.field(m.keys);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, Release>) {
    codec.field(m.group);
    codec.field(m.number);
    codec.field(m.keys);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, Input>) {
    codec.field(m.bytes);
  } else if constexpr (std::is_same_v<T, InputReaders>) {
    codec.field(m.left);
  } else if constexpr (std::is_same_v<T, RankProcesses>) {
    codec.field(m.host);
    codec.field(m.executable);
    codec.field(m.ranks);
    codec.field(m.pids);
  } else if constexpr (std::is_same_v<T, TaskPipes>) {
    codec.field(m.host);
    codec.field(m.stream);
    codec.field(m.tasks);
  } else if constexpr (std::is_same_v<T, Output>) {
    codec.field(m.stream);
    codec.field(m.task);
    codec.field(m.bytes);
    codec.field(m.open_line);
    codec.field(m.label);
  } else if constexpr (std::is_same_v<T, CloseOutput>) {
    codec.field(m.stream);
    codec.field(m.task);
    codec.field(m.error);
  } else if constexpr (std::is_same_v<T, Credit>) {
    codec.field(m.stream);
    codec.field(m.task);
    codec.field(m.bytes);
  } else if constexpr (std::is_same_v<T, Ready>) {
    codec.field(m.version);
    codec.field(m.pid);
    codec.field(m.host);
  } else if constexpr (std::is_same_v<T, HostLost>) {
    codec.field(m.host);
    codec.field(m.was_ready);
    codec.field(m.message);
    codec.field(m.late);
  } else if constexpr (std::is_same_v<T, GroupReady>) {
    codec.field(m.group);
  } else if constexpr (std::is_same_v<T, ClockQuery>) {
    codec.field(m.sent_ns);
  } else if constexpr (std::is_same_v<T, ClockAnswer>) {
    codec.field(m.sent_ns);
    codec.field(m.now_ns);
  } else if constexpr (std::is_same_v<T, GroupFailed>) {
    codec.field(m.group);
    codec.field(m.error);
    codec.field(m.syscall);
    codec.field(m.subject);
  } else if constexpr (std::is_same_v<T, Started>) {
    codec.field(m.task);
    codec.field(m.pid);
    codec.field(m.cpus);
    codec.field(m.time_ns);
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
    codec.field(m.user_us);
    codec.field(m.system_us);
    codec.field(m.time_ns);
  } else if constexpr (std::is_same_v<T, Peer>) {
    codec.field(m.transport);
    codec.field(m.uid);
    codec.field(m.pid);
    codec.field(m.address);
    codec.field(m.host);
    codec.field(m.unknown);
  } else if constexpr (std::is_same_v<T, EventRecord>) {
    codec.field(m.type);
    codec.field(m.rank);
    codec.field(m.exit_code);
    codec.field(m.lost);
    codec.field(m.again);
    codec.field(m.in_barrier);
    codec.field(m.barrier);
    codec.field(m.version);
    codec.field(m.subversion);
    codec.field(m.message);
    codec.field(m.peer);
    codec.field(m.time_ns);
  } else if constexpr (std::is_same_v<T, Events>) {
    codec.field(m.group);
    codec.field(m.events);
  } else if constexpr (std::is_same_v<T, EventsMissed>) {
    codec.field(m.type);
    codec.field(m.count);
  } else if constexpr (std::is_same_v<T, TraceLines>) {
    codec.field(m.lines);
    codec.field(m.records);
    codec.field(m.dropped);
  } else if constexpr (std::is_same_v<T, SpawnCommand>) {
    codec.field(m.program);
    codec.field(m.args);
    codec.field(m.ranks);
    codec.field(m.info);
  } else if constexpr (std::is_same_v<T, SpawnQuery>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.rank);
    codec.field(m.commands);
    codec.field(m.preput);
  } else if constexpr (std::is_same_v<T, NameQuery>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.rank);
    codec.field(m.operation);
    codec.field(m.service);
    codec.field(m.port);
  } else if constexpr (std::is_same_v<T, BarrierQuery>) {
    codec.field(m.group);
    codec.field(m.query);
    codec.field(m.rank);
    codec.field(m.barrier_group);
  } else if constexpr (std::is_same_v<T, BarrierGroupStatus>) {
    codec.field(m.tag);
    codec.field(m.inside);
    codec.field(m.missing);
  } else if constexpr (std::is_same_v<T, GroupStatus>) {
    codec.field(m.group);
    codec.field(m.ranks);
    codec.field(m.barrier);
    codec.field(m.inside);
    codec.field(m.barrier_groups);
    codec.field(m.open_barrier_groups);
    codec.field(m.kvs_entries);
    codec.field(m.rejected);
    codec.field(m.unidentified);
  } else if constexpr (std::is_same_v<T, StatusReply>) {
    codec.field(m.id);
    codec.field(m.groups);
    codec.field(m.counters);
  } else if constexpr (std::is_same_v<T, HostCounters>) {
    codec.field(m.requests);
    codec.field(m.refused);
    codec.field(m.invalid);
    codec.field(m.received);
    codec.field(m.sent);
    codec.field(m.barriers);
    codec.field(m.barrier_time);
    codec.field(m.kvs_bytes);
    codec.field(m.turns);
  } else if constexpr (std::is_same_v<T, InspectedRank>) {
    codec.field(m.rank);
    codec.field(m.pid);
    codec.field(m.pmi);
    codec.field(m.worker);
    codec.field(m.name);
    codec.field(m.state);
    codec.field(m.system_call);
    codec.field(m.file);
    codec.field(m.wait_channel);
    codec.field(m.processor_us);
    codec.field(m.busy_us);
    codec.field(m.interval_us);
    codec.field(m.has_stack);
    codec.field(m.stack);
    codec.field(m.stack_fault);
  } else if constexpr (std::is_same_v<T, InspectReply>) {
    codec.field(m.id);
    codec.field(m.ranks);
    codec.field(m.last);
  } else if constexpr (std::is_same_v<T, OutputLost>) {
    codec.field(m.error);
    codec.field(m.subject);
  } else {
    static_assert(std::is_same_v<T, Printed> || std::is_same_v<T, Done>);
  }
}

namespace {

template <typename T>
AnyMessage move_as(void* from) {
  return AnyMessage(std::in_place_type<T>, std::move(*static_cast<T*>(from)));
}

// Returns nothing if the fields are not exactly `body`.
template <typename T>
std::optional<Message> decode_as(std::string_view body) {
  PacketReader reader(body);
  T message;
  fields(reader, message);
  if (!reader.done()) return std::nullopt;
  return Message(std::move(message));
}

// Call the function above for a kind.
template <typename... All>
AnyMessage move_kind(std::uint8_t kind, void* from, std::type_identity<std::variant<All...>>) {
  static constexpr AnyMessage (*kMoves[])(void*) = {&move_as<All>...};
  return kMoves[kind](from);
}
template <typename... All>
std::optional<Message> decode_kind(std::uint8_t kind, std::string_view body,
                                   std::type_identity<std::variant<All...>>) {
  static constexpr std::optional<Message> (*kDecodes[])(std::string_view) = {&decode_as<All>...};
  return kDecodes[kind](body);
}

}  // namespace

Message::Message(std::uint8_t kind, void* from)
    : AnyMessage(move_kind(kind, from, std::type_identity<AnyMessage>())) {}
Message::Message(const Message& other) = default;
Message::Message(Message&& other) noexcept = default;
Message& Message::operator=(Message&& other) noexcept = default;
Message::~Message() = default;

std::optional<Header> read_header(std::string_view packet) {
  PacketReader reader(packet);
  Header header;
  header.kind = reader.u8();
  header.host = reader.u32();
  if (packet.size() < kHeaderBytes || header.kind >= kMessageKinds) return std::nullopt;
  return header;
}

std::string encode(std::uint32_t host, const Message& message) {
  PacketWriter writer;
  writer.u8(static_cast<std::uint8_t>(message.index()));
  writer.u32(host);
  std::visit([&writer](const auto& m) { fields(writer, m); }, static_cast<const AnyMessage&>(message));
  return writer.take();
}

std::optional<Message> decode(std::string_view packet) {
  const auto header = read_header(packet);
  if (!header) return std::nullopt;
  return decode_kind(header->kind, packet.substr(kHeaderBytes), std::type_identity<AnyMessage>());
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
  part.exec_shim = program.exec_shim;
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
