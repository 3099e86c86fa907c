#include <algorithm>
#include <array>
#include <span>

#include "addon/convert.h"
#include "wire/address.h"
#include "wire/host_range.h"
#include "wire/messages.h"

namespace wireup::addon {
namespace {

// The names in lib/native.ts, in the order of the enumerators.
constexpr std::array kStates{"absent", "connected", "initialized", "finalized", "disconnected"};
constexpr std::array kEvents{"connected",    "initialized", "barrier",        "finalized", "aborted",
                             "disconnected", "rejected",    "protocol_error", "stuck",     "entered"};
constexpr std::array kFailures{"exit",    "signal",  "abort",  "lost",  "early", "spawn",
                               "timeout", "startup", "output", "agent", "host"};
constexpr std::array kPhases{"none", "initialized", "finalized"};
constexpr std::array kClientFailures{"hung_up", "refused", "protocol"};

// The last enumerator of each enum has the last name.
static_assert(static_cast<std::size_t>(engine::RankState::disconnected) + 1 == kStates.size());
static_assert(engine::kEventTypes == kEvents.size());
static_assert(static_cast<std::size_t>(engine::FailureReason::host) + 1 == kFailures.size());
static_assert(static_cast<std::size_t>(engine::RankPhase::finalized) + 1 == kPhases.size());
static_assert(static_cast<std::size_t>(engine::Failed::Reason::protocol) + 1 == kClientFailures.size());

template <typename Names, typename Enum>
const char* name(const Names& names, Enum value) {
  return names.at(static_cast<std::size_t>(value));
}

template <typename T, typename Convert>
Napi::Array list(Napi::Env env, const std::vector<T>& values, Convert convert) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) array.Set(i, convert(values[i]));
  return array;
}

Napi::Array ranks(Napi::Env env, const std::vector<std::uint32_t>& values) {
  return list(env, values, [&](std::uint32_t value) { return Napi::Number::New(env, value); });
}

void set_outcome(Napi::Object& object, const engine::RankOutcome& outcome) {
  object.Set("pid", outcome.pid);
  object.Set("exited", outcome.exited);
  object.Set("signaled", outcome.signaled);
  object.Set("value", outcome.value);
  object.Set("coreDumped", outcome.core_dumped);
  object.Set("ended", outcome.ended);
}

void set_status(Napi::Env env, Napi::Object& object, const engine::ProcessGroupStatus& status) {
  object.Set("ranks", list(env, status.ranks, [&](engine::RankState state) {
               return Napi::String::New(env, name(kStates, state));
             }));
  object.Set("barrier", static_cast<double>(status.barrier.number));
  object.Set("inside", ranks(env, status.barrier.inside));
  object.Set("missing", ranks(env, status.barrier.missing));
  object.Set("groupBarriers",
             list(env, status.group_barriers, [&](const engine::GroupBarrierStatus& barrier) {
               Napi::Object row = Napi::Object::New(env);
               row.Set("tag", barrier.tag);
               row.Set("inside", ranks(env, barrier.inside));
               row.Set("missing", ranks(env, barrier.missing));
               return row;
             }));
  object.Set("openGroupBarriers", static_cast<double>(status.open_group_barriers));
  object.Set("kvsEntries", static_cast<double>(status.kvs_entries));
  object.Set("rejected", static_cast<double>(status.rejected));
  object.Set("unidentified", static_cast<double>(status.unidentified));
}

Napi::Array numbers(Napi::Env env, std::span<const std::uint64_t> values, double unit = 1) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) array.Set(i, static_cast<double>(values[i]) * unit);
  return array;
}

Napi::Object totals(Napi::Env env, const runtime::Totals& totals) {
  constexpr double kMicrosecond = 1e-6;
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  const engine::Counters& counters = totals.counters;
  Napi::Object requests = Napi::Object::New(env);
  for (const wire::MessageSpec& spec : wire::kMessages) {
    if (spec.direction != wire::Direction::to_server) continue;
    requests.Set(std::string(spec.name), number(counters.requests[static_cast<std::size_t>(spec.id)]));
  }
  requests.Set("unknown",
               number(counters.requests[static_cast<std::size_t>(wire::MessageId::unknown_result)]));
  Napi::Object refused = Napi::Object::New(env);
  for (std::size_t i = 0; i < engine::kRefusals.size(); ++i)
    refused.Set(std::string(engine::kRefusals[i]), number(counters.refused[i]));
  Napi::Object object = Napi::Object::New(env);
  object.Set("requests", requests);
  object.Set("refused", refused);
  object.Set("invalid", number(counters.invalid));
  object.Set("received", number(counters.received));
  object.Set("sent", number(counters.sent));
  object.Set("buckets", numbers(env, counters.barriers));
  object.Set("bounds", numbers(env, engine::kBarrierBuckets, kMicrosecond));
  object.Set("barrierTime", number(counters.barrier_time) * kMicrosecond);
  object.Set("barriers", number(totals.barriers));
  object.Set("kvsBytes", number(totals.kvs_bytes));
  object.Set("turns", number(totals.turns));
  return object;
}

Napi::Array inspected(Napi::Env env, const std::vector<wire::agent::InspectedRank>& inspected) {
  return list(env, inspected, [env](const wire::agent::InspectedRank& rank) {
    constexpr double kMillisecond = 1000;
    Napi::Object row = Napi::Object::New(env);
    row.Set("rank", rank.rank);
    row.Set("pid", rank.pid);
    row.Set("pmi", name(kStates, static_cast<engine::RankState>(rank.pmi)));
    row.Set("worker", rank.worker);
    row.Set("name", to_string(env, rank.name));
    row.Set("state", to_string(env, std::string(1, static_cast<char>(rank.state))));
    row.Set("systemCall", to_string(env, rank.system_call));
    row.Set("file", to_string(env, rank.file));
    row.Set("waitChannel", to_string(env, rank.wait_channel));
    row.Set("processorTime", static_cast<double>(rank.processor_us) / kMillisecond);
    row.Set("busy", static_cast<double>(rank.busy_us) / kMillisecond);
    row.Set("interval", static_cast<double>(rank.interval_us) / kMillisecond);
    if (rank.has_stack) {
      row.Set("stack", to_string(env, rank.stack));
      row.Set("stackFault", to_string(env, rank.stack_fault));
    }
    return row;
  });
}

// What ranks have in a result, as numbers; lib/notice-rows.ts makes objects of them (see
// addon/notice_batch.h).
constexpr std::size_t kRankIntegers = 8;
constexpr std::size_t kRankDoubles = 9;

void set_ranks(Napi::Env env, Napi::Object& object, const runtime::LaunchResult& result) {
  Napi::Int32Array integers = Napi::Int32Array::New(env, result.ranks.size() * kRankIntegers);
  Napi::Float64Array doubles = Napi::Float64Array::New(env, result.ranks.size() * kRankDoubles);
  for (std::size_t rank = 0; rank < result.ranks.size(); ++rank) {
    const engine::RankOutcome& outcome = result.ranks[rank];
    const runtime::RankTimes& times = result.times[rank];
    const std::array<std::int32_t, kRankIntegers> row{outcome.pid,
                                                      outcome.exited,
                                                      outcome.signaled,
                                                      outcome.value,
                                                      outcome.core_dumped,
                                                      outcome.ended,
                                                      static_cast<std::int32_t>(result.places[rank]),
                                                      static_cast<std::int32_t>(result.states[rank])};
    const std::array<double, kRankDoubles> numbers{
        result.cpu[rank].user, result.cpu[rank].system, times.started,
        times.connected,       times.initialized,       times.finalized,
        times.aborted,         times.disconnected,      times.exited};
    std::ranges::copy(row, integers.Data() + rank * kRankIntegers);
    std::ranges::copy(numbers, doubles.Data() + rank * kRankDoubles);
  }
  object.Set("integers", integers);
  object.Set("doubles", doubles);
  const bool any_entered =
      std::ranges::any_of(result.times, [](const auto& times) { return !times.entered.empty(); });
  if (!any_entered) return;
  object.Set("entered", list(env, result.times, [env](const runtime::RankTimes& times) {
               return list(env, times.entered, [env](double time) -> Napi::Value {
                 return time < 0 ? env.Null() : Napi::Number::New(env, time);
               });
             }));
}

// Adds the payload of a notice to its object.
struct Filler {
  Napi::Env env;
  Napi::Object& object;

  Napi::Array pairs(const engine::KeyValues& values) const {
    return list(env, values, [this](const auto& entry) {
      return to_array(env, {entry.first, entry.second});
    });
  }

  void operator()(const runtime::ServerOpened& opened) const {
    object.Set("type", "opened");
    object.Set("address", to_string(env, opened.address));
    object.Set("pmiPort", to_string(env, opened.pmi_port));
  }
  void operator()(const runtime::NamesListed& listed) const {
    object.Set("type", "names");
    object.Set("names", list(env, listed.rows, [this](const wire::names::Row& name) {
                 Napi::Object row = Napi::Object::New(env);
                 row.Set("service", to_string(env, name.service));
                 row.Set("port", to_string(env, name.port));
                 row.Set("kvsname", to_string(env, name.kvsname));
                 if (name.pid != 0) row.Set("pid", name.pid);
                 return row;
               }));
  }
  void operator()(const runtime::NamesLost&) const { object.Set("type", "namesLost"); }
  void operator()(const runtime::JobQuestion& asked) const {
    object.Set("type", "question");
    object.Set("connection", asked.connection);
    object.Set("question", to_string(env, asked.question));
  }
  void operator()(const runtime::AskerGone& gone) const {
    object.Set("type", "askerGone");
    object.Set("connection", gone.connection);
  }
  void operator()(const std::unique_ptr<runtime::StatusReply>& boxed) const {
    const runtime::StatusReply& reply = *boxed;
    object.Set("type", "status");
    object.Set("request", static_cast<double>(reply.request));
    set_status(env, object, reply.groups.at(0));
    Napi::Array spawned = Napi::Array::New(env);
    for (const auto& [group, status] : reply.groups) {
      if (group == 0) continue;
      Napi::Object row = Napi::Object::New(env);
      row.Set("group", group);
      set_status(env, row, status);
      spawned.Set(spawned.Length(), row);
    }
    object.Set("spawned", spawned);
    object.Set("totals", totals(env, reply.totals));
    object.Set("awaited", to_array(env, reply.awaited));
  }
  void operator()(const runtime::Inspection& inspection) const {
    object.Set("type", "inspected");
    object.Set("request", static_cast<double>(inspection.request));
    object.Set("ranks", inspected(env, inspection.ranks));
  }
  void operator()(const runtime::EventsMissed& missed) const {
    object.Set("type", "missed");
    object.Set("event", name(kEvents, missed.type));
    object.Set("count", static_cast<double>(missed.count));
  }
  void operator()(const engine::SpawnQuery& query) const {
    object.Set("type", "spawn");
    object.Set("id", static_cast<double>(query.id));
    object.Set("rank", query.rank);
    object.Set("commands", list(env, query.spawn.commands, [this](const engine::SpawnCommand& command) {
                 Napi::Object row = Napi::Object::New(env);
                 row.Set("program", to_string(env, command.program));
                 row.Set("args", to_array(env, command.args));
                 row.Set("ranks", command.ranks);
                 row.Set("info", pairs(command.info));
                 return row;
               }));
    object.Set("preput", pairs(query.spawn.preput));
  }
  void operator()(const runtime::AgentReady& ready) const {
    object.Set("type", "agent");
    object.Set("pid", ready.pid);
  }
  void operator()(const runtime::HostStarted& started) const {
    object.Set("type", "hostStarted");
    object.Set("host", started.host);
    object.Set("name", to_string(env, started.name));
    object.Set("pid", started.pid);
    object.Set("ownName", to_string(env, started.own_name));
  }
  void operator()(const runtime::StartedSingly& singly) const {
    object.Set("type", "startedSingly");
    object.Set("reason", to_string(env, singly.reason));
  }
  void operator()(const runtime::HostLost& lost) const {
    object.Set("type", "hostLost");
    object.Set("host", lost.host);
    object.Set("name", to_string(env, lost.name));
    object.Set("started", lost.started);
    object.Set("message", to_string(env, lost.message));
    object.Set("ranks", ranks(env, lost.ranks));
  }
  void operator()(const runtime::GroupSpawned&) const { object.Set("type", "spawned"); }
  void operator()(const runtime::SpawnFailure& failure) const {
    object.Set("type", "spawnFailed");
    object.Set("message", to_string(env, failure.message));
  }
  void operator()(const runtime::GroupEnded&) const { object.Set("type", "groupEnded"); }
  void operator()(const runtime::TraceLines& trace) const {
    object.Set("type", "trace");
    object.Set("lines", Napi::Buffer<char>::Copy(env, trace.lines.data(), trace.lines.size()));
    object.Set("records", static_cast<double>(trace.records));
    object.Set("dropped", static_cast<double>(trace.dropped));
  }
  void operator()(const runtime::RanksPrinted&) const { object.Set("type", "printed"); }
  void operator()(const std::unique_ptr<runtime::LaunchResult>& boxed) const {
    const runtime::LaunchResult& result = *boxed;
    object.Set("type", "result");
    object.Set("exitCode", result.exit_code);
    object.Set("stopped", result.stopped);
    if (result.failure) {
      Napi::Object failure = Napi::Object::New(env);
      failure.Set("reason", name(kFailures, result.failure->reason));
      failure.Set("rank", result.failure->rank);
      failure.Set("value", static_cast<double>(result.failure->value));
      failure.Set("message", to_string(env, result.failure->message));
      failure.Set("started", result.failure->started);
      failure.Set("cutOff", to_string(env, result.failure->cut_off));
      failure.Set("phase", name(kPhases, result.failure->phase));
      if (result.failure->barrier) failure.Set("barrier", static_cast<double>(*result.failure->barrier));
      failure.Set("group", result.failed_group);
      if (result.failure->rank >= 0) {
        Napi::Object outcome = Napi::Object::New(env);
        set_outcome(outcome, result.failed_rank);
        failure.Set("outcome", outcome);
      }
      object.Set("failure", failure);
    }
    if (result.status) {
      Napi::Object status = Napi::Object::New(env);
      set_status(env, status, *result.status);
      object.Set("status", status);
    }
    object.Set("departed", ranks(env, result.departed));
    object.Set("awaited", to_array(env, result.awaited));
    object.Set("late", inspected(env, result.late));
    object.Set("hosts", to_array(env, result.hosts));
    object.Set("duration", result.duration);
    object.Set("barriers", static_cast<double>(result.barriers));
    object.Set("barrierTimes",
               list(env, result.barrier_times, [&](double time) { return Napi::Number::New(env, time); }));
    object.Set("victims", result.victims);
    set_ranks(env, object, result);
  }
  void operator()(const engine::Ready& ready) const {
    const engine::ClientInfo& info = ready.info;
    object.Set("type", "ready");
    object.Set("rank", info.rank);
    object.Set("size", info.size);
    object.Set("spawned", info.spawned);
    object.Set("appnum", info.appnum);
    object.Set("universeSize", info.universe_size);
    object.Set("version", info.version);
    object.Set("subversion", info.subversion);
    object.Set("kvsname", to_string(env, info.kvsname));
    object.Set("kvsnameMax", static_cast<double>(info.kvsname_max));
    object.Set("keyMax", static_cast<double>(info.key_max));
    object.Set("valueMax", static_cast<double>(info.value_max));
  }
  void operator()(const engine::Answer& answer) const {
    object.Set("type", "answer");
    object.Set("request", static_cast<double>(answer.request));
    object.Set("rc", answer.rc);
    object.Set("value", to_string(env, answer.value));
    object.Set("message", to_string(env, answer.message));
    object.Set("local", answer.local);
    object.Set("errcodes", list(env, answer.errcodes,
                                [this](std::int32_t code) { return Napi::Number::New(env, code); }));
  }
  void operator()(const runtime::Answers& answers) const {
    object.Set("type", "answers");
    object.Set("first", static_cast<double>(answers.first));
    object.Set("values", to_array(env, answers.values));
  }
  void operator()(const engine::Failed& failed) const {
    object.Set("type", "failed");
    object.Set("reason", name(kClientFailures, failed.reason));
    object.Set("message", to_string(env, failed.message));
  }
  void operator()(const runtime::Error& fault) const {
    object.Set("type", "error");
    object.Set("code", fault.code);
    object.Set("message", to_string(env, fault.message));
    if (fault.error != 0) object.Set("errno", fault.error);
    if (!fault.syscall.empty()) object.Set("syscall", fault.syscall);
  }
  void operator()(const runtime::Closed&) const { object.Set("type", "closed"); }
  // These have rows.
  void operator()(const engine::Event&) const {}
  void operator()(const runtime::RankStarted&) const {}
  void operator()(const runtime::RankExited&) const {}
};

}  // namespace

Napi::Object to_object(Napi::Env env, const runtime::Notice& notice) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("handle", notice.handle);
  object.Set("group", notice.group);
  object.Set("time", notice.time);
  std::visit(Filler{env, object}, notice.payload);
  return object;
}

Napi::Object to_object(Napi::Env env, const engine::Peer& peer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("transport", to_string(env, std::string(wire::name_of(peer.transport))));
  if (peer.uid) object.Set("uid", *peer.uid);
  if (peer.pid) object.Set("pid", *peer.pid);
  object.Set("address", to_string(env, peer.address));
  return object;
}

Napi::Object enumerators(Napi::Env env) {
  const auto texts = [env](std::span<const char* const> names) {
    Napi::Array array = Napi::Array::New(env, names.size());
    for (std::uint32_t i = 0; i < names.size(); ++i) array.Set(i, names[i]);
    return array;
  };
  Napi::Object object = Napi::Object::New(env);
  object.Set("events", texts(kEvents));
  object.Set("states", texts(kStates));
  return object;
}

runtime::Outbox::Types to_event_types(const Napi::Value& names) {
  runtime::Outbox::Types types{};
  const auto array = names.As<Napi::Array>();
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const auto entry = std::ranges::find(kEvents, to_text(array.Get(i)));
    if (entry == kEvents.end()) throw Napi::TypeError::New(names.Env(), "unknown type of event");
    types[static_cast<std::size_t>(entry - kEvents.begin())] = true;
  }
  return types;
}

Napi::Array to_array(Napi::Env env, const std::vector<std::string>& strings) {
  return list(env, strings, [&](const std::string& text) { return to_string(env, text); });
}

Napi::Array message_table(Napi::Env env) {
  const auto text = [&](std::string_view value) { return to_string(env, value); };
  Napi::Array rows = Napi::Array::New(env);
  for (const wire::MessageSpec& message : wire::kMessages) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("name", text(message.name));
    row.Set("v1", text(message.v1));
    row.Set("v2", text(message.v2));
    row.Set("direction", text(wire::to_string(message.direction)));
    row.Set("form", text(wire::to_string(message.form)));
    row.Set("support", text(wire::to_string(message.support)));
    row.Set("reply", text(wire::spec_of(message.reply).name));
    row.Set("source", text(message.source));
    Napi::Array attributes = Napi::Array::New(env);
    for (const wire::AttributeSpec& attribute : message.attributes) {
      Napi::Object item = Napi::Object::New(env);
      const bool v1 = attribute.is_in(wire::Version::v1) && !message.v1.empty();
      const bool v2 = attribute.is_in(wire::Version::v2) && !message.v2.empty();
      item.Set("name", text(wire::name_of(attribute.id)));
      item.Set("v1", text(v1 ? attribute.name(wire::Version::v1) : std::string_view()));
      item.Set("v2", text(v2 ? attribute.name(wire::Version::v2) : std::string_view()));
      item.Set("type", text(wire::to_string(attribute.type)));
      item.Set("presence", text(wire::to_string(attribute.presence)));
      item.Set("limit", static_cast<double>(attribute.limit));
      attributes.Set(attributes.Length(), item);
    }
    row.Set("attributes", attributes);
    rows.Set(rows.Length(), row);
  }
  return rows;
}

Napi::Array to_array(Napi::Env env, const std::vector<std::uint32_t>& numbers) { return ranks(env, numbers); }

Napi::Object to_object(Napi::Env env, const os::Caller& caller) {
  const auto numbers = [&](const std::vector<std::int32_t>& values) {
    return list(env, values, [&](std::int32_t value) { return Napi::Number::New(env, value); });
  };
  Napi::Object object = Napi::Object::New(env);
  object.Set("ignoredSignals", numbers(caller.ignored_signals));
  object.Set("blockedSignals", numbers(caller.blocked_signals));
  object.Set("softFiles", caller.soft_files);
  object.Set("fds", numbers(caller.fds));
  return object;
}

Napi::Value parse_host_range(Napi::Env env, const std::string& text) {
  const wire::ParsedHostRange parsed = wire::parse_host_range(text);
  if (parsed.range) return env.Undefined();
  Napi::Object error = Napi::Object::New(env);
  error.Set("part", to_string(env, parsed.error.part));
  error.Set("reason", to_string(env, parsed.error.reason));
  return error;
}

Napi::Value parse_address(Napi::Env env, const std::string& text) {
  const wire::ParsedAddress parsed = wire::parse_address(text);
  Napi::Object object = Napi::Object::New(env);
  if (!parsed.address) {
    Napi::Object error = Napi::Object::New(env);
    error.Set("part", to_string(env, parsed.error.part));
    error.Set("reason", to_string(env, parsed.error.reason));
    object.Set("error", error);
    return object;
  }
  object.Set("transport", to_string(env, std::string(wire::name_of(wire::transport_of(*parsed.address)))));
  if (const auto* tcp = std::get_if<wire::TcpAddress>(&*parsed.address)) {
    object.Set("host", to_string(env, tcp->host));
    object.Set("port", tcp->port);
  }
  object.Set("uri", to_string(env, wire::to_uri(*parsed.address)));
  return object;
}

}  // namespace wireup::addon
