// The functions that lib/native.ts declares.
#include <napi.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "addon/convert.h"
#include "addon/environment.h"
#include "os/caller.h"
#include "os/error.h"
#include "os/name_lookup.h"
#include "os/private_directory.h"
#include "os/random.h"
#include "os/thread.h"
#include "os/trusted_folder.h"
#include "os/whole_file.h"
#include "runtime/caller_notes.h"
#include "runtime/pmi_ids.h"
#include "runtime/rank_environment.h"
#include "wire/clique.h"

namespace wireup::addon {
namespace {

struct InstanceData {
  std::unique_ptr<Environment> environment;
};

Environment& environment(const Napi::CallbackInfo& info) {
  auto* data = info.Env().GetInstanceData<InstanceData>();
  if (!data->environment) throw Napi::Error::New(info.Env(), "start() has not been called");
  return *data->environment;
}

runtime::Runtime& runtime(const Napi::CallbackInfo& info) { return environment(info).runtime(); }

runtime::RequestId request_id(const Napi::Value& value) {
  return static_cast<runtime::RequestId>(value.As<Napi::Number>().Int64Value());
}

// Converts an exception to the JavaScript error that lib/errors.ts expects. No other exception may reach
// Node, which would abort.
Napi::Error to_error(Napi::Env env, const std::exception& failure) {
  Napi::Error error = Napi::Error::New(env, failure.what());
  const auto* os = dynamic_cast<const os::OsError*>(&failure);
  if (const auto* system = dynamic_cast<const std::system_error*>(&failure)) {
    error.Set("errno", Napi::Number::New(env, system->code().value()));
    error.Set("syscall", Napi::String::New(env, os == nullptr ? "thread" : os->syscall()));
  } else {
    const bool option = dynamic_cast<const std::invalid_argument*>(&failure) != nullptr;
    error.Set("code", Napi::String::New(env, option ? "ERR_PMI_OPTION" : "ERR_PMI_INTERNAL"));
  }
  return error;
}

void start(const Napi::CallbackInfo& info) {
  auto* data = info.Env().GetInstanceData<InstanceData>();
  data->environment = std::make_unique<Environment>(info.Env(), info[0].As<Napi::Function>());
}

void deliver(const Napi::CallbackInfo& info) { environment(info).deliver(info.Env()); }

void read_events(const Napi::CallbackInfo& info) {
  runtime(info).read_events(to_u32(info[0]), to_event_types(info[1]));
}

void shutdown(const Napi::CallbackInfo& info) { runtime(info).shutdown(); }

Napi::Value open_server(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(
      info.Env(), env.opened(env.runtime().open_server(to_server_options(info[0].As<Napi::Object>()))));
}

Napi::Value launch(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(info.Env(),
                           env.opened(env.runtime().launch(to_launch_options(info[0].As<Napi::Object>()))));
}

void prepare_agent(const Napi::CallbackInfo& info) {
  runtime(info).prepare_agent(to_agent_options(info[0].As<Napi::Object>()));
}

Napi::Value connect(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(info.Env(),
                           env.opened(env.runtime().connect(to_connect_options(info[0].As<Napi::Object>()))));
}

Napi::Value open_name_server(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(
      info.Env(), env.opened(env.runtime().open_name_server(to_listen_options(info[0].As<Napi::Object>()))));
}

Napi::Value list_names(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(info.Env(), env.opened(env.runtime().list_names(to_unix_address(info[0]))));
}

Napi::Value open_job_socket(const Napi::CallbackInfo& info) {
  Environment& env = environment(info);
  return Napi::Number::New(info.Env(),
                           env.opened(env.runtime().open_job_socket(to_private_parents(info[0]))));
}

void answer_question(const Napi::CallbackInfo& info) {
  runtime(info).answer_question(to_u32(info[0]), to_u32(info[1]), to_text(info[2]),
                                info[3].As<Napi::Boolean>().Value());
}

void remove_dead_jobs(const Napi::CallbackInfo& info) { os::remove_dead_directories(to_text(info[0])); }

Napi::Value open_channel(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(),
                           runtime(info).open_channel(to_u32(info[0]), to_u32(info[1])).release());
}

void answer_spawn(const Napi::CallbackInfo& info) {
  runtime(info).answer_spawn(to_u32(info[0]), request_id(info[1]),
                             to_spawn_answer(info[2].As<Napi::Object>()));
}

void spawn(const Napi::CallbackInfo& info) {
  runtime(info).spawn(
      to_u32(info[0]), to_u32(info[1]),
      {{request_id(info[2]), to_numbers(info[4])}, to_group_options(info[3].As<Napi::Object>())});
}

void close_server(const Napi::CallbackInfo& info) { runtime(info).close_server(to_u32(info[0])); }

void status(const Napi::CallbackInfo& info) { runtime(info).status(to_u32(info[0]), request_id(info[1])); }

std::vector<std::uint32_t> to_ranks(const Napi::Value& value) {
  const auto array = value.As<Napi::Array>();
  std::vector<std::uint32_t> ranks;
  for (std::uint32_t i = 0; i < array.Length(); ++i) ranks.push_back(to_u32(array.Get(i)));
  return ranks;
}

void signal(const Napi::CallbackInfo& info) {
  runtime(info).signal(to_u32(info[0]), info[1].As<Napi::Number>().Int32Value(), to_ranks(info[2]));
}

void inspect(const Napi::CallbackInfo& info) {
  runtime(info).inspect(to_u32(info[0]), request_id(info[1]), to_ranks(info[2]), info[3].ToBoolean());
}

void show_status(const Napi::CallbackInfo& info) {
  runtime(info).show_status(to_u32(info[0]), to_text(info[1]));
}

Napi::Value random_bytes(const Napi::CallbackInfo& info) {
  auto bytes = Napi::Buffer<std::byte>::New(info.Env(), to_u32(info[0]));
  os::fill_random({bytes.Data(), bytes.Length()});
  return bytes;
}

Napi::Value make_pmi_ids(const Napi::CallbackInfo& info) {
  std::vector<std::string> texts;
  for (engine::PmiId& id : runtime::make_pmi_ids(to_u32(info[0]), to_pmi_id_kind(info[1])))
    texts.push_back(std::move(id.text));
  return to_array(info.Env(), texts);
}

Napi::Value open_pipes(const Napi::CallbackInfo& info) {
  std::vector<os::FdPair> pipes = runtime::open_output_pipes(to_u32(info[0]));
  std::vector<std::uint32_t> numbers;
  for (os::FdPair& pipe : pipes) {
    numbers.push_back(static_cast<std::uint32_t>(pipe.first.release()));
    numbers.push_back(static_cast<std::uint32_t>(pipe.second.release()));
  }
  return to_array(info.Env(), numbers);
}

void stop(const Napi::CallbackInfo& info) {
  runtime(info).stop(to_u32(info[0]), std::chrono::milliseconds(to_u32(info[1])));
}

void request(const Napi::CallbackInfo& info) {
  const runtime::ClientOperation operation = to_operation(info[2]);
  runtime(info).request(to_u32(info[0]), request_id(info[1]), operation, to_items(operation, info[3]));
}

void request_spawn(const Napi::CallbackInfo& info) {
  runtime(info).request_spawn(to_u32(info[0]), request_id(info[1]),
                              to_spawn_request(info[2].As<Napi::Object>()));
}

void check_whole(const Napi::CallbackInfo& info) { os::check_whole(to_text(info[0])); }

Napi::Value wait_writable(const Napi::CallbackInfo& info) {
  const bool writable =
      os::wait_writable(info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::Number>().Int32Value());
  return Napi::Boolean::New(info.Env(), writable);
}

void write_whole(const Napi::CallbackInfo& info) { os::write_whole(to_text(info[0]), to_text(info[1])); }

Napi::Value clique_ranks(const Napi::CallbackInfo& info) {
  const wire::Clique clique =
      wire::find_clique(to_text(info[0]), to_text(info[1]), to_u32(info[2]), to_u32(info[3]));
  if (!clique.error.empty()) return Napi::String::New(info.Env(), clique.error);
  return to_array(info.Env(), clique.ranks);
}

void abort(const Napi::CallbackInfo& info) {
  runtime(info).abort(to_u32(info[0]), info[1].As<Napi::Number>().Int32Value(), to_text(info[2]));
}

void close_client(const Napi::CallbackInfo& info) { runtime(info).close_client(to_u32(info[0])); }

Napi::Value address(const Napi::CallbackInfo& info) { return parse_address(info.Env(), to_text(info[0])); }

Napi::Value host_range_error(const Napi::CallbackInfo& info) {
  return parse_host_range(info.Env(), to_text(info[0]));
}

// Waits for look-ups of names on a thread of Node's pool, at most as long as its timeout.
class OwnNames final : public Napi::AsyncWorker {
 public:
  OwnNames(Napi::Env env, std::vector<std::string> names, std::chrono::milliseconds timeout)
      : Napi::AsyncWorker(env),
        answer_(Napi::Promise::Deferred::New(env)),
        names_(std::move(names)),
        deadline_(std::chrono::steady_clock::now() + timeout) {}

  Napi::Value answer() const { return answer_.Promise(); }

 protected:
  void Execute() override { own_ = os::find_own_names(names_, deadline_); }
  void OnOK() override {
    Napi::Array own = Napi::Array::New(Env(), own_.size());
    for (std::size_t i = 0; i < own_.size(); ++i)
      own.Set(static_cast<std::uint32_t>(i), static_cast<bool>(own_[i]));
    answer_.Resolve(own);
  }
  void OnError(const Napi::Error& error) override { answer_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred answer_;
  std::vector<std::string> names_;
  std::chrono::steady_clock::time_point deadline_;
  std::vector<bool> own_;
};

Napi::Value own_names(const Napi::CallbackInfo& info) {
  // It deletes itself.
  auto* work = new OwnNames(info.Env(), to_texts(info[0]), std::chrono::milliseconds(to_u32(info[1])));
  work->Queue();
  return work->answer();
}

Napi::Value folder_problem(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), os::open_trusted_folder(to_text(info[0])).fault);
}

Napi::Value channel_environment(const Napi::CallbackInfo& info) {
  return to_array(info.Env(), runtime::channel_environment(to_rank_place(info[0].As<Napi::Object>()),
                                                           info[1].As<Napi::Number>().Int32Value()));
}

Napi::Value port_environment(const Napi::CallbackInfo& info) {
  return to_array(info.Env(), runtime::port_environment(to_rank_place(info[0].As<Napi::Object>()),
                                                        to_text(info[1]), to_text(info[2])));
}

Napi::Value is_stale_pmi_variable(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), runtime::is_stale_pmi_variable(to_text(info[0])));
}

// The environment of this process for its ranks, as an opaque block; undefined in a worker, which has a
// process.env of its own.
Napi::Value own_environment(const Napi::CallbackInfo& info) {
  if (!os::is_main_thread()) return info.Env().Undefined();
  std::optional<std::vector<std::string>> names;
  if (!info[0].IsUndefined()) names = to_texts(info[0]);
  const std::string block = runtime::own_environment_block(names);
  return Napi::Buffer<char>::Copy(info.Env(), block.data(), block.size());
}

// The caller as the starter's notes on `fd` describe it; with a negative fd, as far as it can be found out
// without notes.
Napi::Value take_caller(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  if (fd < 0) return to_object(info.Env(), os::recover_caller());
  const runtime::CallerNotes notes = runtime::take_notes(fd);
  for (const std::string& variable : notes.hidden) {
    const std::size_t end = variable.find('=');
    ::setenv(variable.substr(0, end).c_str(), variable.c_str() + end + 1, 1);
  }
  return to_object(info.Env(), notes.caller);
}

Napi::Value text_of_bytes(const Napi::CallbackInfo& info) { return to_string(info.Env(), to_bytes(info[0])); }

Napi::Value bytes_of_text(const Napi::CallbackInfo& info) {
  const std::string bytes = to_text(info[0]);
  return Napi::Buffer<char>::Copy(info.Env(), bytes.data(), bytes.size());
}

Napi::Value enumerators(const Napi::CallbackInfo& info) { return addon::enumerators(info.Env()); }

Napi::Value message_table(const Napi::CallbackInfo& info) { return addon::message_table(info.Env()); }

Napi::Object define_exports(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new InstanceData);
  const auto define = [&](const char* name, auto function) {
    const auto guarded = [function](const Napi::CallbackInfo& info) {
      try {
        return function(info);
      } catch (const Napi::Error&) {
        throw;
      } catch (const std::exception& failure) {
        throw to_error(info.Env(), failure);
      }
    };
    exports.Set(name, Napi::Function::New(env, guarded, name));
  };
  define("start", start);
  define("shutdown", shutdown);
  define("deliver", deliver);
  define("readEvents", read_events);
  define("openServer", open_server);
  define("openChannel", open_channel);
  define("answerSpawn", answer_spawn);
  define("spawn", spawn);
  define("closeServer", close_server);
  define("openNameServer", open_name_server);
  define("listNames", list_names);
  define("openJobSocket", open_job_socket);
  define("answerQuestion", answer_question);
  define("removeDeadJobs", remove_dead_jobs);
  define("status", status);
  define("inspect", inspect);
  define("launch", launch);
  define("prepareAgent", prepare_agent);
  define("signal", signal);
  define("showStatus", show_status);
  define("openPipes", open_pipes);
  define("randomBytes", random_bytes);
  define("makePmiIds", make_pmi_ids);
  define("checkWhole", check_whole);
  define("waitWritable", wait_writable);
  define("writeWhole", write_whole);
  define("stop", stop);
  define("connect", connect);
  define("request", request);
  define("requestSpawn", request_spawn);
  define("abort", abort);
  define("closeClient", close_client);
  define("parseAddress", address);
  define("cliqueRanks", clique_ranks);
  define("hostRangeError", host_range_error);
  define("ownNames", own_names);
  define("folderProblem", folder_problem);
  define("channelEnvironment", channel_environment);
  define("portEnvironment", port_environment);
  define("isStalePmiVariable", is_stale_pmi_variable);
  define("ownEnvironment", own_environment);
  define("takeCaller", take_caller);
  define("textOfBytes", text_of_bytes);
  define("bytesOfText", bytes_of_text);
  define("enumerators", enumerators);
  define("messageTable", message_table);
  return exports;
}

}  // namespace
}  // namespace wireup::addon

// The macro pastes the function's name, so it takes no qualified one.
static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return wireup::addon::define_exports(env, exports);
}

NODE_API_MODULE(wireup, init)
