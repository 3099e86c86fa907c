#include <tuple>
#include <unordered_map>

#include "addon/convert.h"
#include "runtime/nanoseconds.h"

namespace wireup::addon {
namespace {

double number(const Napi::Value& value) {
  if (!value.IsNumber()) throw Napi::TypeError::New(value.Env(), "expected a number");
  return value.As<Napi::Number>().DoubleValue();
}

}  // namespace

std::uint32_t to_u32(const Napi::Value& value) {
  const double n = number(value);
  if (!(n >= 0 && n <= 0xffffffff))
    throw Napi::RangeError::New(value.Env(), "expected a number from 0 to 2^32-1");
  return static_cast<std::uint32_t>(n);
}

namespace {

Napi::Value member(const Napi::Object& object, const char* name) {
  Napi::Value value = object.Get(name);
  if (value.IsUndefined()) throw Napi::TypeError::New(object.Env(), std::string("missing option ") + name);
  return value;
}

std::int32_t i32(const Napi::Value& value) {
  const double n = number(value);
  if (!(n >= -2147483648.0 && n <= 2147483647.0))
    throw Napi::RangeError::New(value.Env(), "expected a 32-bit number");
  return static_cast<std::int32_t>(n);
}

// Accepts the integers that a double represents exactly.
std::uint64_t to_u64(const Napi::Value& value) {
  const double n = number(value);
  if (!(n >= 0 && n <= 9007199254740991.0))
    throw Napi::RangeError::New(value.Env(), "expected a number from 0 to 2^53-1");
  return static_cast<std::uint64_t>(n);
}

std::chrono::milliseconds milliseconds(const Napi::Value& value) {
  return std::chrono::milliseconds(to_u64(value));
}

bool boolean(const Napi::Value& value) {
  if (!value.IsBoolean()) throw Napi::TypeError::New(value.Env(), "expected a boolean");
  return value.As<Napi::Boolean>().Value();
}

template <typename Convert>
auto list(const Napi::Value& value, Convert convert) {
  if (!value.IsArray()) throw Napi::TypeError::New(value.Env(), "expected an array");
  const auto array = value.As<Napi::Array>();
  std::vector<decltype(convert(Napi::Value()))> result;
  result.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); ++i) result.push_back(convert(array.Get(i)));
  return result;
}

engine::UidRange uid_range(const Napi::Value& value) {
  const std::vector<std::uint32_t> ends = list(value, to_u32);
  if (ends.size() != 2) throw Napi::RangeError::New(value.Env(), "expected the first and the last uid");
  return {ends[0], ends[1]};
}

wire::HostRange host_range(const Napi::Value& value) {
  const auto parsed = wire::parse_host_range(to_text(value));
  if (!parsed.range) throw Napi::RangeError::New(value.Env(), "bad host");
  return *parsed.range;
}

std::pair<std::string, std::string> pair(const Napi::Value& value) {
  std::vector<std::string> words = list(value, to_text);
  if (words.size() != 2) throw Napi::TypeError::New(value.Env(), "expected a key and a value");
  return {std::move(words[0]), std::move(words[1])};
}

engine::PmiId pmi_id(const Napi::Value& value) { return to_text(value); }

engine::Layout to_layout(const Napi::Object& object) {
  const std::uint32_t size = to_u32(member(object, "size"));
  const std::vector<std::uint32_t> nodes = list(member(object, "nodes"), to_u32);
  if (nodes.empty()) return engine::Layout::by_node(size, to_u32(member(object, "ranksPerNode")));
  return engine::Layout::of_apps(list(member(object, "appSizes"), to_u32), nodes);
}

engine::ProcessGroupOptions to_process_group_options(const Napi::Object& object) {
  engine::ProcessGroupOptions options;
  options.layout = to_layout(object);
  options.kvsname = to_text(member(object, "kvsname"));
  if (const Napi::Value size = object.Get("universeSize"); !size.IsUndefined())
    options.universe_size = to_u32(size);
  options.offer_1_2 = boolean(member(object, "offerPmi12"));
  options.strict = boolean(member(object, "strict"));
  if (const Napi::Value spawner = object.Get("spawner"); !spawner.IsUndefined())
    options.spawner = to_text(spawner);
  if (const Napi::Value preput = object.Get("preput"); !preput.IsUndefined())
    options.preput = list(preput, pair);
  options.space = std::make_shared<engine::Space>(to_u64(member(object, "kvsLimit")));
  options.auth.allowed_uids = list(member(object, "allowedUids"), uid_range);
  options.auth.allowed_hosts = list(member(object, "allowHosts"), host_range);
  options.auth.pmi_ids = list(member(object, "pmiIds"), pmi_id);
  options.auth.reconnect = boolean(member(object, "reconnect"));
  options.auth.handshake_timeout = std::chrono::milliseconds(to_u32(member(object, "handshakeTimeout")));
  if (options.auth.pmi_ids.size() != options.layout.size()) {
    throw Napi::RangeError::New(object.Env(), "expected one pmi_id a rank");
  }
  return options;
}

wire::Address to_address(const Napi::Value& value) {
  const auto parsed = wire::parse_address(to_text(value));
  if (!parsed.address) throw Napi::RangeError::New(value.Env(), "bad address");
  return *parsed.address;
}

// The address of the name server, if the options have one.
std::optional<wire::UnixAddress> to_name_server(const Napi::Object& object) {
  const Napi::Value address = object.Get("nameServer");
  return address.IsUndefined() ? std::nullopt : std::optional(to_unix_address(address));
}

}  // namespace

wire::UnixAddress to_unix_address(const Napi::Value& value) {
  const wire::Address address = to_address(value);
  const auto* local = std::get_if<wire::UnixAddress>(&address);
  if (local == nullptr) throw Napi::RangeError::New(value.Env(), "expected a unix address");
  return *local;
}

std::vector<runtime::PrivateParent> to_private_parents(const Napi::Value& parents) {
  return list(parents, [](const Napi::Value& value) {
    const std::vector<std::string> pair = list(value, to_text);
    if (pair.size() != 2) throw Napi::RangeError::New(value.Env(), "expected a variable and a path");
    return runtime::PrivateParent{pair[0], pair[1]};
  });
}

runtime::ListenOptions to_listen_options(const Napi::Object& object) {
  runtime::ListenOptions options;
  if (const Napi::Value address = object.Get("address"); !address.IsUndefined())
    options.address = to_address(address);
  if (const Napi::Value ports = object.Get("ports"); !ports.IsUndefined()) {
    const std::vector<std::uint32_t> ends = list(ports, to_u32);
    if (ends.size() != 2 || ends[1] > 0xffff) throw Napi::RangeError::New(object.Env(), "expected two ports");
    options.ports.emplace(static_cast<std::uint16_t>(ends[0]), static_cast<std::uint16_t>(ends[1]));
  }
  if (const Napi::Value parents = object.Get("privateParents"); !parents.IsUndefined())
    options.private_parents = to_private_parents(parents);
  return options;
}

namespace {

std::pair<std::uint32_t, std::uint32_t> rank_range(const Napi::Value& value) {
  const std::vector<std::uint32_t> ends = list(value, to_u32);
  if (ends.size() != 2) throw Napi::RangeError::New(value.Env(), "expected the first and the last rank");
  return {ends[0], ends[1]};
}

// Of microseconds.
std::uint64_t to_ns(const Napi::Value& value) {
  constexpr std::uint64_t kMicrosecond = 1000;
  return to_u64(value) * kMicrosecond;
}

wire::agent::TracePlan to_trace_plan(const Napi::Object& options) {
  const Napi::Value value = options.Get("trace");
  if (value.IsUndefined()) return {};
  const auto object = value.As<Napi::Object>();
  return {true, boolean(member(object, "json")), boolean(member(object, "secrets")),
          to_ns(member(object, "start")), list(member(object, "ranks"), rank_range)};
}

}  // namespace

runtime::ServerOptions to_server_options(const Napi::Object& object) {
  return {to_process_group_options(object), to_listen_options(object), to_name_server(object),
          to_trace_plan(object)};
}

namespace {

std::vector<std::string> to_environment(const Napi::Object& object) {
  const std::vector<std::string> inherited = runtime::split_block(to_bytes(member(object, "inherited")));
  return runtime::merge_environment(
      runtime::merge_environment(list(member(object, "defaults"), to_text), inherited),
      list(member(object, "set"), to_text), list(member(object, "unset"), to_text));
}

wire::agent::Program to_program(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  wire::agent::Program program;
  program.directory = to_text(member(object, "directory"));
  program.path = to_text(member(object, "path"));
  program.exec_shim = boolean(member(object, "execShim"));
  program.args = list(member(object, "args"), to_text);
  program.environment = to_environment(member(object, "environment").As<Napi::Object>());
  return program;
}

wire::agent::OutputPlan to_output_plan(const Napi::Value& value) {
  using wire::agent::OutputMode;
  static const std::unordered_map<std::string, OutputMode> kModes{{"inherit", OutputMode::inherit},
                                                                  {"merge", OutputMode::merge},
                                                                  {"file", OutputMode::file},
                                                                  {"discard", OutputMode::discard}};
  const auto object = value.As<Napi::Object>();
  return {kModes.at(to_text(member(object, "mode"))), to_text(member(object, "file"))};
}

wire::agent::Binding to_binding(const Napi::Value& value) {
  using wire::agent::BindingUnit;
  static const std::unordered_map<std::string, BindingUnit> kUnits{{"none", BindingUnit::none},
                                                                   {"hwthread", BindingUnit::hwthread},
                                                                   {"core", BindingUnit::core},
                                                                   {"socket", BindingUnit::socket},
                                                                   {"list", BindingUnit::list}};
  const auto object = value.As<Napi::Object>();
  return {kUnits.at(to_text(member(object, "unit"))),
          list(member(object, "sets"), [](const Napi::Value& set) { return list(set, to_u32); })};
}

std::vector<os::UniqueFd> to_fds(const Napi::Value& value) {
  const std::vector<std::int32_t> numbers = list(value, i32);
  std::vector<os::UniqueFd> fds;
  fds.reserve(numbers.size());
  for (const std::int32_t number : numbers) fds.emplace_back(number);
  return fds;
}

// An entry for each of the layout's nodes. Each list has one for each node too, or is empty.
std::vector<wire::agent::Node> to_nodes(const Napi::Object& object, std::uint32_t count) {
  const std::vector<std::uint32_t> hosts = list(member(object, "nodeHosts"), to_u32);
  std::vector<std::string> names = list(member(object, "nodeNames"), to_text);
  const std::vector<std::uint32_t> numbers = list(member(object, "nodeNumbers"), to_u32);
  for (const std::size_t size : {hosts.size(), names.size(), numbers.size()}) {
    if (size != 0 && size != count) throw Napi::RangeError::New(object.Env(), "expected one for each node");
  }
  std::vector<wire::agent::Node> nodes(count);
  for (std::uint32_t node = 0; node < count; ++node) {
    if (!hosts.empty()) nodes[node].host = hosts[node];
    if (!names.empty()) nodes[node].name = std::move(names[node]);
    nodes[node].number = numbers.empty() ? node : numbers[node];
  }
  return nodes;
}

runtime::HostOptions to_host_options(const Napi::Value& value) {
  const auto object = value.As<Napi::Object>();
  runtime::HostOptions options;
  options.name = to_text(member(object, "name"));
  options.command = list(member(object, "command"), to_text);
  options.stage = to_text(member(object, "stage"));
  options.timeout_ms = to_u32(member(object, "timeoutMs"));
  options.same_host = boolean(member(object, "sameHost"));
  return options;
}

runtime::TogetherOptions to_together_options(const Napi::Object& object) {
  return {.command = list(member(object, "command"), to_text),
          .iface = to_text(member(object, "iface")),
          .insecure = boolean(member(object, "insecure"))};
}

}  // namespace

wire::agent::PmiIdKind to_pmi_id_kind(const Napi::Value& value) {
  using wire::agent::PmiIdKind;
  static const std::unordered_map<std::string, PmiIdKind> kKinds{
      {"number", PmiIdKind::number}, {"long", PmiIdKind::hexadecimal}, {"rank", PmiIdKind::rank}};
  const auto found = kKinds.find(to_text(value));
  if (found == kKinds.end()) throw Napi::TypeError::New(value.Env(), "unknown kind of PMI_ID");
  return found->second;
}

std::vector<std::string> to_texts(const Napi::Value& value) { return list(value, to_text); }

std::vector<std::int32_t> to_numbers(const Napi::Value& value) { return list(value, i32); }

runtime::GroupOptions to_group_options(const Napi::Object& object) {
  using wire::agent::PmiMode;
  runtime::GroupOptions options;
  options.layout = to_layout(object);
  options.programs = list(member(object, "programs"), to_program);
  wire::agent::Group& group = options.group;
  group.kvsname = to_text(member(object, "kvsname"));
  group.nodes = to_nodes(object, options.layout.nodes());
  group.pretend_hosts = boolean(member(object, "pretendHosts"));
  if (const Napi::Value size = object.Get("universeSize"); !size.IsUndefined())
    group.universe_size = to_u32(size);
  group.offer_1_2 = boolean(member(object, "offerPmi12"));
  group.strict = boolean(member(object, "strict"));
  group.reported_entries = to_u64(member(object, "reportedEntries"));
  if (const Napi::Value spawner = object.Get("spawner"); !spawner.IsUndefined())
    group.spawner = to_text(spawner);
  if (const Napi::Value preput = object.Get("preput"); !preput.IsUndefined())
    group.preput = list(preput, pair);
  for (const engine::UidRange& uids : list(member(object, "allowedUids"), uid_range))
    group.allowed_uids.emplace_back(uids.first, uids.last);
  group.allowed_hosts = list(member(object, "allowHosts"), to_text);
  group.pmi_id = to_pmi_id_kind(member(object, "pmiId"));
  group.handshake_timeout_ms = to_u32(member(object, "handshakeTimeout"));
  group.reconnect = boolean(member(object, "reconnect"));
  group.descendants_only = boolean(member(object, "descendantsOnly"));
  group.pmi = to_text(member(object, "pmi")) == "fd" ? PmiMode::fd : PmiMode::port;
  const runtime::ListenOptions listen = to_listen_options(object);
  if (listen.address) group.address = wire::to_uri(*listen.address);
  if (listen.ports) std::tie(group.first_port, group.last_port) = *listen.ports;
  for (const runtime::PrivateParent& parent : listen.private_parents)
    group.private_parents.push_back({parent.variable, parent.path});
  return options;
}

runtime::AgentOptions to_agent_options(const Napi::Object& object) {
  runtime::AgentOptions options;
  options.path = to_text(member(object, "agent"));
  return options;
}

runtime::LaunchOptions to_launch_options(const Napi::Object& object) {
  runtime::LaunchOptions options;
  // First, so that these are closed if another option is wrong.
  options.pipes.out.reset(i32(member(object, "stdoutFd")));
  options.pipes.err.reset(i32(member(object, "stderrFd")));
  options.pipes.rank_out = to_fds(member(object, "rankStdoutFds"));
  options.pipes.rank_err = to_fds(member(object, "rankStderrFds"));
  options.group = to_group_options(object);
  options.hosts = list(member(object, "hosts"), to_host_options);
  options.host_environment = to_texts(member(object, "hostEnvironment"));
  options.tree_width = to_u32(member(object, "treeWidth"));
  if (const Napi::Value together = object.Get("together"); !together.IsUndefined())
    options.together = to_together_options(together.As<Napi::Object>());
  options.begin = runtime::to_time_point(to_ns(member(object, "begin")));
  options.hello.kvs_limit = to_u64(member(object, "kvsLimit"));
  options.hello.trace = to_trace_plan(object);
  options.name_server = to_name_server(object);
  if (const std::uint32_t port = to_u32(member(object, "singletonPort")); port != 0) {
    if (port > 0xffff) throw Napi::RangeError::New(object.Env(), "expected a port");
    options.singleton = {static_cast<std::uint16_t>(port), i32(member(object, "singletonPid"))};
  }
  options.agent = to_agent_options(object);
  options.hello.ignored_signals = list(member(object, "ignoredSignals"), i32);
  options.hello.blocked_signals = list(member(object, "blockedSignals"), i32);
  options.hello.soft_files = to_u32(member(object, "softFiles"));
  options.passed_fds = list(member(object, "fds"), i32);
  options.hello.out = to_output_plan(member(object, "stdout"));
  options.hello.err = to_output_plan(member(object, "stderr"));
  options.hello.label = to_text(member(object, "label"));
  options.hello.spawned_label = to_text(member(object, "spawnedLabel"));
  options.hello.binding = to_binding(member(object, "binding"));
  options.stdin_readers = list(member(object, "stdinReaders"), boolean);
  options.silent = list(member(object, "silent"), boolean);
  options.debugger = list(member(object, "debugger"), to_text);
  options.debugged = list(member(object, "debugged"), to_u32);
  options.policy.end_on_failure = boolean(member(object, "endOnFailure"));
  options.policy.end_on_early_exit = boolean(member(object, "endOnEarlyExit"));
  options.grace = std::chrono::milliseconds(to_u32(member(object, "grace")));
  options.timeout = milliseconds(member(object, "timeout"));
  options.startup_timeout = milliseconds(member(object, "startupTimeout"));
  return options;
}

runtime::ConnectOptions to_connect_options(const Napi::Object& object) {
  runtime::ConnectOptions options;
  if (const Napi::Value fd = object.Get("fd"); !fd.IsUndefined()) options.fd = i32(fd);
  if (const Napi::Value address = object.Get("address"); !address.IsUndefined())
    options.address = to_address(address);
  if (const Napi::Value id = object.Get("pmiId"); !id.IsUndefined()) options.session.pmi_id = to_text(id);
  if (const Napi::Value rank = object.Get("rank"); !rank.IsUndefined()) options.session.rank = to_u32(rank);
  if (const Napi::Value size = object.Get("size"); !size.IsUndefined()) options.session.size = to_u32(size);
  if (const Napi::Value spawned = object.Get("spawned"); !spawned.IsUndefined())
    options.session.spawned = boolean(spawned);
  if (const Napi::Value job = object.Get("jobId"); !job.IsUndefined()) options.session.job_id = to_text(job);
  if (const Napi::Value version = object.Get("version"); !version.IsUndefined()) {
    options.session.version = to_u32(version) == 2 ? wire::Version::v2 : wire::Version::v1;
  }
  if (const Napi::Value sub = object.Get("subversion"); !sub.IsUndefined())
    options.session.subversion = to_u32(sub);
  const std::string pipeline = to_text(member(object, "pipeline"));
  options.session.window = pipeline == "never" ? 1 : engine::kPipelineWindow;
  options.session.cautious = pipeline == "auto";
  options.timeout = std::chrono::milliseconds(to_u32(member(object, "timeout")));
  if (options.fd < 0 && !options.address) throw Napi::TypeError::New(object.Env(), "expected fd or address");
  return options;
}

runtime::ClientOperation to_operation(const Napi::Value& name) {
  static const std::unordered_map<std::string, runtime::ClientOperation> kOperations{
      {"put", runtime::ClientOperation::put},
      {"get", runtime::ClientOperation::get},
      {"putNodeAttribute", runtime::ClientOperation::put_node_attribute},
      {"getNodeAttribute", runtime::ClientOperation::get_node_attribute},
      {"waitNodeAttribute", runtime::ClientOperation::wait_node_attribute},
      {"getJobAttribute", runtime::ClientOperation::get_job_attribute},
      {"barrier", runtime::ClientOperation::barrier},
      {"publish", runtime::ClientOperation::publish},
      {"lookup", runtime::ClientOperation::lookup},
      {"unpublish", runtime::ClientOperation::unpublish},
      {"finalize", runtime::ClientOperation::finalize}};
  const auto found = kOperations.find(to_text(name));
  if (found == kOperations.end()) throw Napi::TypeError::New(name.Env(), "unknown operation");
  return found->second;
}

std::vector<runtime::ClientItem> to_items(runtime::ClientOperation operation, const Napi::Value& words) {
  std::vector<std::string> list = addon::list(words, to_text);
  // A barrier has its group as operand, or none.
  if (operation == runtime::ClientOperation::barrier && list.empty()) return {{}};
  if (operation == runtime::ClientOperation::finalize) return {{}};
  const bool pairs = operation == runtime::ClientOperation::put ||
                     operation == runtime::ClientOperation::publish ||
                     operation == runtime::ClientOperation::put_node_attribute;
  if (pairs && list.size() % 2 != 0) throw Napi::TypeError::New(words.Env(), "expected pairs");
  std::vector<runtime::ClientItem> items;
  items.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    runtime::ClientItem item{.key = std::move(list[i])};
    if (pairs) item.value = std::move(list[++i]);
    items.push_back(std::move(item));
  }
  return items;
}

engine::SpawnRequest to_spawn_request(const Napi::Object& object) {
  engine::SpawnRequest request;
  request.commands = list(member(object, "commands"), [](const Napi::Value& value) {
    const auto row = value.As<Napi::Object>();
    return engine::SpawnCommand{to_text(member(row, "program")), list(member(row, "args"), to_text),
                                to_u32(member(row, "ranks")), list(member(row, "info"), pair)};
  });
  request.preput = list(member(object, "preput"), pair);
  return request;
}

engine::SpawnAnswer to_spawn_answer(const Napi::Object& object) {
  engine::SpawnAnswer answer;
  answer.rc = i32(member(object, "rc"));
  answer.message = to_text(member(object, "message"));
  answer.kvsname = to_text(member(object, "kvsname"));
  answer.errcodes = list(member(object, "errcodes"), i32);
  return answer;
}

runtime::RankPlace to_rank_place(const Napi::Object& object) {
  return {to_u32(member(object, "rank")), to_u32(member(object, "size")), to_u32(member(object, "localRank")),
          to_u32(member(object, "localSize"))};
}

}  // namespace wireup::addon
