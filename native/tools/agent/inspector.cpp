#include "tools/agent/inspector.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "os/proc_pids.h"
#include "os/process_facts.h"
#include "wire/printable.h"

namespace wireup::agent {
namespace {

using namespace wire::agent;

std::uint64_t microseconds(os::Reactor::Clock::duration time) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

std::string short_text(const std::string& text) { return std::string(wire::cut(text, kMaxInspectedText)); }

// The worker is known. If it has ended meanwhile, its state is that of a process that has ended.
void add_facts(InspectedRank& rank) {
  const auto facts = os::process_facts(rank.worker);
  if (!facts) {
    rank.state = 'X';
    return;
  }
  rank.name = short_text(facts->name);
  rank.state = static_cast<std::uint8_t>(facts->state);
  rank.system_call = short_text(facts->system_call);
  rank.file = short_text(facts->file);
  rank.wait_channel = short_text(facts->wait_channel);
  rank.processor_us = facts->processor_us;
}

std::size_t size_of(const InspectedRank& rank) {
  // The numbers and lengths of one rank take less.
  constexpr std::size_t kFixed = 128;
  return kFixed + rank.name.size() + rank.system_call.size() + rank.file.size() + rank.wait_channel.size() +
         rank.stack.size() + rank.stack_fault.size();
}

}  // namespace

Inspector::Inspector(os::Reactor& reactor, Reports& reports, Groups& groups, const Ranks& ranks, int dev_null)
    : reactor_(reactor), reports_(reports), groups_(groups), ranks_(ranks), stacks_(reactor, dev_null) {}

Inspector::~Inspector() { stop(); }

const char* Inspector::handle(Inspect inspect) {
  if (stopped_) return nullptr;
  const Number number = ++last_;
  Question& question = questions_[number];
  question.id = inspect.id;
  const HostedGroup* const group = groups_.find(inspect.group);
  // /proc of an outer namespace has other numbers.
  const bool visible = os::proc_is_of_our_namespace();
  for (std::size_t i = 0; group != nullptr && i < inspect.ranks.size(); ++i) {
    const std::uint32_t number_in_group = inspect.ranks[i];
    if (!group->has(number_in_group)) return "inspects a rank of another host";
    InspectedRank rank;
    rank.rank = number_in_group;
    rank.pid = ranks_.pid(group->task(number_in_group));
    if (rank.pid == 0) continue;
    rank.pmi = static_cast<std::uint8_t>(group->server->group().rank_state(number_in_group));
    if (visible) rank.worker = os::working_process(rank.pid);
    if (visible && i < inspect.stacks) ++question.stacks;
    question.ranks.push_back(std::move(rank));
  }
  question.first_look = os::Reactor::Clock::now();
  if (inspect.interval_ms == 0 || !visible) {
    if (visible) std::ranges::for_each(question.ranks, add_facts);
    take_stacks(number);
    return nullptr;
  }
  for (InspectedRank& rank : question.ranks) rank.busy_us = os::processor_time(rank.worker);
  question.timer =
      reactor_.after(std::chrono::milliseconds(inspect.interval_ms), [this, number] { look_again(number); });
  return nullptr;
}

void Inspector::look_again(Number number) {
  Question& question = questions_.at(number);
  question.timer = 0;
  const std::uint64_t interval = microseconds(os::Reactor::Clock::now() - question.first_look);
  for (InspectedRank& rank : question.ranks) {
    const std::uint64_t before = rank.busy_us;
    add_facts(rank);
    rank.busy_us = rank.processor_us - std::min(before, rank.processor_us);
    rank.interval_us = interval;
  }
  take_stacks(number);
}

void Inspector::take_stacks(Number number) {
  Question& question = questions_.at(number);
  if (question.stacks == 0) return reply(number);
  question.missing_stacks = question.stacks;
  for (std::uint32_t i = 0; i < question.stacks; ++i) {
    question.ranks[i].has_stack = true;
    stacks_.take(question.ranks[i].worker, [this, number, i](StackText stack) {
      Question& asked = questions_.at(number);
      asked.ranks[i].stack = std::move(stack.text);
      asked.ranks[i].stack_fault = short_text(stack.fault);
      if (--asked.missing_stacks == 0) reply(number);
    });
  }
}

void Inspector::reply(Number number) {
  const auto question = questions_.extract(number);
  InspectReply part{question.mapped().id, {}, false};
  std::size_t size = 0;
  for (InspectedRank& rank : question.mapped().ranks) {
    if (size > 0 && size + size_of(rank) > kMaxPart) {
      reports_.send(part);
      part.ranks.clear();
      size = 0;
    }
    size += size_of(rank);
    part.ranks.push_back(std::move(rank));
  }
  part.last = true;
  reports_.send(part);
}

void Inspector::stop() {
  stopped_ = true;
  stacks_.stop();
  for (const auto& [number, question] : questions_) reactor_.cancel(question.timer);
  questions_.clear();
}

}  // namespace wireup::agent
