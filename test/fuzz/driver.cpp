// The deterministic driver: it mutates the seeds of a target (for a server the golden transcripts) with a
// seeded random generator and the words of the message table. The same seed gives the same inputs.
//
//   server_session_fuzz --seconds 60 --seed 7     a timed run
//   server_session_fuzz --runs 20000 --seed 7     a counted run
//   server_session_fuzz --input FILE              one input, e.g. a failed one
//   server_session_fuzz --dictionary              the words, for libFuzzer's -dict=
//   server_session_fuzz --corpus FOLDER           the transcripts as inputs, for libFuzzer
//
// An input that fails is written to TARGET.failed in the working directory.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "engine/transcript.h"
#include "fuzz_input.h"
#include "wire/codec.h"
#include "wire/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace wireup::fuzz {
namespace {

std::string failed_input;
constexpr std::size_t kMaxInput = 16 << 10;

std::string current;  // the current input, for the handler of SIGABRT

void keep_failed_input(int) {
  if (std::FILE* file = std::fopen(failed_input.c_str(), "wb")) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
  }
}

// A PMI-2 frame with all attributes of a message. Mutations of it are more often well-formed than random
// bytes.
std::string frame_of(const wire::MessageSpec& spec) {
  std::string out;
  wire::MessageWriter frame(out, spec.id, wire::Version::v2, "1");
  for (const wire::AttributeSpec& attribute : spec.attributes) {
    if (!attribute.is_in(wire::Version::v2)) continue;
    frame.add(attribute.id, attribute.type == wire::ValueType::boolean ? "TRUE" : "1");
  }
  frame.end();
  return out;
}

std::vector<std::string> words() {
  std::vector<std::string> list = {"\n",
                                   " ",
                                   "=",
                                   "endcmd\n",
                                   "mcmd=",
                                   "totspawns=2\n",
                                   "PMI_process_mapping",
                                   std::string("\0", 1),
                                   "-1",
                                   "0",
                                   "1",
                                   "2",
                                   "2147483648",
                                   " key=",
                                   " value="};
  for (const wire::MessageSpec& spec : wire::kMessages) {
    list.push_back((spec.form == wire::Form::block ? "mcmd=" : "cmd=") + std::string(spec.v1));
    if (!spec.v2.empty()) list.push_back(frame_of(spec));
    for (const wire::AttributeSpec& attribute : spec.attributes) {
      list.push_back(" " + std::string(wire::name_of(attribute.id)) + "=");
      list.push_back(";" + std::string(attribute.name(wire::Version::v2)) + "=");
      if (!attribute.alias.empty()) list.push_back(" " + std::string(attribute.alias) + "=");
      if (!attribute.v2_alias.empty()) list.push_back(";" + std::string(attribute.v2_alias) + "=");
    }
  }
  for (std::uint32_t rank = 0; rank < kRanks; ++rank) {
    list.push_back("cmd=initack pmiid=" + std::to_string(test::pmi_id_of(rank)) + "\n");
    list.push_back(
        test::resolve_frame("cmd=fullinit;pmirank=" + std::to_string(test::pmi_id_of(rank)) + ";"));
    list.push_back(test::resolve_frame("cmd=fullinit;pmirank=" + std::to_string(rank) + ";"));
  }
  list.push_back(" kvsname=" + std::string(test::kKvsname));
  list.emplace_back("cmd=init pmi_version=1 pmi_subversion=1\n");
  list.emplace_back("cmd=init pmi_version=1 pmi_subversion=2\n");
  list.emplace_back("cmd=init pmi_version=2 pmi_subversion=0\n");
  for (const char* group : {"WORLD", "WORLD:1", "NODE:2", "0,1:3", "0-2"}) {
    list.push_back("cmd=barrier_in group=" + std::string(group) + "\n");
  }
  list.emplace_back(";;");
  list.emplace_back(";thrid=");
  list.emplace_back("subcmd=a;maxprocs=1;argc=1;argv0=b;");
  std::ranges::sort(list);
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed), words_(words()), seeds_(seeds()) {}

  std::string next() {
    std::string input = pick(seeds_);
    while (below(3) == 0) input += pick(seeds_);
    for (std::size_t i = below(8); i > 0; --i) mutate(input);
    if (input.size() > kMaxInput) input.resize(kMaxInput);
    return input;
  }

 private:
  // mt19937_64 gives the same numbers with every standard library; the standard distributions do not.
  std::size_t below(std::size_t bound) { return bound == 0 ? 0 : random_() % bound; }
  const std::string& pick(const std::vector<std::string>& list) { return list[below(list.size())]; }

  void mutate(std::string& input) {
    const std::size_t at = below(input.size() + 1);
    const std::size_t length = std::min(below(64), input.size() - at);
    switch (below(9)) {
      case 0:
        input.insert(at, pick(words_));
        break;
      case 1:
        input.replace(at, length, pick(words_));
        break;
      case 2:
        input.erase(at, length);
        break;
      case 3:
        input.insert(at, input.substr(at, length));
        break;
      case 4:
        input.insert(at, std::string(below(600), static_cast<char>(random_())));
        break;
      case 5: {
        const std::string& other = pick(seeds_);
        input.insert(at, other.substr(below(other.size() + 1)));
        break;
      }
      case 6: {
        std::string step;
        append_receive(step, static_cast<std::uint32_t>(below(kConnections)), pick(words_) + pick(words_));
        input.insert(at, step);
        break;
      }
      case 7: {
        const char head = static_cast<char>(below(kConnections) | (6 + below(2)) << 2);
        input.insert(at, std::string{head, static_cast<char>(random_())});
        break;
      }
      default:
        if (at < input.size()) input[at] = static_cast<char>(random_());
        break;
    }
  }

  std::mt19937_64 random_;
  std::vector<std::string> words_;
  std::vector<std::string> seeds_;
};

void run(const std::string& input) {
  current = input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current.data()), current.size());
}

void print_dictionary() {
  for (const std::string& word : words()) {
    std::string line = "\"";
    for (const char c : word) {
      std::array<char, 8> hex{};
      std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(c));
      line += hex.data();
    }
    std::cout << line << "\"\n";
  }
}

void write_corpus(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  int number = 0;
  for (const std::string& seed : seeds()) {
    std::ofstream(folder / ("seed-" + std::to_string(number++)), std::ios::binary) << seed;
  }
}

int usage() {
  std::cerr << "usage: " WIREUP_FUZZ_NAME
               " [--seconds N | --runs N] [--seed N]\n"
               "       " WIREUP_FUZZ_NAME " --input FILE | --dictionary | --corpus FOLDER\n";
  return 2;
}

int main_of(const std::vector<std::string_view>& args) {
  std::uint64_t seconds = 0;
  std::uint64_t runs = 0;
  std::uint64_t seed = 1;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--dictionary") return print_dictionary(), 0;
    if (i + 1 == args.size()) return usage();
    const std::string_view name = args[i];
    const std::string_view value = args[++i];
    if (name == "--corpus") return write_corpus(value), 0;
    if (name == "--input") {
      std::ifstream file{std::string(value), std::ios::binary};
      run({std::istreambuf_iterator<char>(file), {}});
      return 0;
    }
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || stop != value.data() + value.size()) return usage();
    if (name == "--seconds") {
      seconds = number;
    } else if (name == "--runs") {
      runs = number;
    } else if (name == "--seed") {
      seed = number;
    } else {
      return usage();
    }
  }
  if ((seconds == 0) == (runs == 0)) return usage();

  for (const std::string& input : seeds()) run(input);
  Mutator mutator(seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::uint64_t done = 0;
  while (runs != 0 ? done < runs : std::chrono::steady_clock::now() < end) {
    run(mutator.next());
    ++done;
  }
  std::cout << WIREUP_FUZZ_NAME ": " << done << " inputs, seed " << seed << ", every invariant held\n";
  return 0;
}

}  // namespace
}  // namespace wireup::fuzz

int main(int argc, char** argv) {
  const std::string_view program = argv[0];
  wireup::fuzz::failed_input = std::string(program.substr(program.rfind('/') + 1)) + ".failed";
  std::signal(SIGABRT, wireup::fuzz::keep_failed_input);
  return wireup::fuzz::main_of({argv + 1, argv + argc});
}
