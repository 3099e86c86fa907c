#include "addon/notice_batch.h"

#include <algorithm>
#include <initializer_list>
#include <variant>

#include "addon/convert.h"

namespace wireup::addon {
namespace {

// lib/notice-rows.ts has the same constants, and reads the numbers in the same order.
enum class Kind : std::int32_t { object, event, started, exited };
constexpr std::size_t kIntegers = 12;  // of a row
constexpr std::size_t kDoubles = 2;

// Writes the row of a notice.
struct RowWriter {
  Napi::Env env;
  const runtime::Notice& notice;
  std::int32_t* integers;
  double* doubles;
  Napi::Array values;

  void operator()(const engine::Event& event) const {
    const bool has_message = !event.message.empty();
    const bool has_peer =
        event.type == engine::EventType::connected || event.type == engine::EventType::rejected;
    put(Kind::event, {event.rank, static_cast<std::int32_t>(event.type), event.exit_code, event.lost,
                      static_cast<std::int32_t>(event.version), static_cast<std::int32_t>(event.subversion),
                      engine::is_repeatable(event), has_message, has_peer});
    doubles[1] = static_cast<double>(event.barrier);
    if (has_message) add(to_string(env, event.message));
    if (has_peer) add(to_object(env, event.peer));
  }
  void operator()(const runtime::RankStarted& started) const {
    const bool is_bound = !started.cpus.empty();
    put(Kind::started, {static_cast<std::int32_t>(started.rank), started.pid, is_bound});
    if (is_bound) add(to_array(env, started.cpus));
  }
  void operator()(const runtime::RankExited& exited) const {
    const engine::RankOutcome& outcome = exited.outcome;
    put(Kind::exited, {static_cast<std::int32_t>(exited.rank), outcome.pid, outcome.exited, outcome.signaled,
                       outcome.value, outcome.core_dumped, outcome.ended});
  }
  // Any other notice.
  void operator()(const auto&) const {
    put(Kind::object, {});
    add(to_object(env, notice));
  }

 private:
  void put(Kind kind, std::initializer_list<std::int32_t> numbers) const {
    integers[0] = static_cast<std::int32_t>(kind);
    integers[1] = static_cast<std::int32_t>(notice.handle);
    integers[2] = static_cast<std::int32_t>(notice.group);
    std::ranges::copy(numbers, integers + 3);
    doubles[0] = notice.time;
  }
  void add(Napi::Value value) const { values.Set(values.Length(), value); }
};

}  // namespace

NoticeBatch::NoticeBatch(Napi::Env env, std::size_t most)
    : integers_(Napi::Persistent(Napi::Int32Array::New(env, most * kIntegers))),
      doubles_(Napi::Persistent(Napi::Float64Array::New(env, most * kDoubles))) {}

std::vector<napi_value> NoticeBatch::write(Napi::Env env, std::span<const runtime::Notice> notices) {
  Napi::Int32Array integers = integers_.Value();
  Napi::Float64Array doubles = doubles_.Value();
  Napi::Array values = Napi::Array::New(env);
  for (std::size_t i = 0; i < notices.size(); ++i) {
    // Without a scope the handles of a whole batch would pile up.
    const Napi::HandleScope scope(env);
    std::visit(
        RowWriter{env, notices[i], integers.Data() + i * kIntegers, doubles.Data() + i * kDoubles, values},
        notices[i].payload);
  }
  return {Napi::Number::New(env, static_cast<double>(notices.size())), integers, doubles, values};
}

}  // namespace wireup::addon
