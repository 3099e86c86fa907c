// The functions of PMI-2. They check arguments, copy strings and translate codes. The server and the lock are
// libpmi's (library.h).
#include <wireup/pmi2.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/result_codes.h"
#include "tools/libpmi/library.h"

namespace {

using wireup::engine::Answer;
using wireup::libpmi::BlockingClient;
using wireup::libpmi::Library;
using wireup::libpmi::locked;
using wireup::libpmi::to_pairs;
using wireup::libpmi::with_server;

// NOLINTNEXTLINE(misc-redundant-expression): the names come from two headers
static_assert(PMI2_FAIL == PMI_FAIL && PMI2_ERR_INIT == PMI_ERR_INIT);
static_assert(PMI2_ERR_INVALID_VAL_LENGTH == wireup::engine::kInvalidValueLength);

// Keeps the codes for wrong arguments. Every other rc is PMI2_FAIL.
int code_of(const Answer& answer) {
  if (answer.rc == PMI2_SUCCESS) return PMI2_SUCCESS;
  return answer.rc >= PMI2_ERR_INVALID_ARG && answer.rc <= PMI2_ERR_INVALID_VAL_LENGTH ? answer.rc
                                                                                       : PMI2_FAIL;
}

// Returns false if the text does not fit.
bool copy_out(std::string_view text, char* buffer, int length) {
  const std::size_t size = std::min(text.size(), static_cast<std::size_t>(length) - 1);
  std::memcpy(buffer, text.data(), size);
  buffer[size] = '\0';
  return size == text.size();
}

// For the caller a missing attribute is not an error. The server reports it by any rc except PMI2_SUCCESS.
std::optional<Answer> found_of(Answer answer, int* found) {
  *found = answer.rc == PMI2_SUCCESS ? 1 : 0;
  if (answer.rc == PMI2_SUCCESS) return answer;
  return std::nullopt;
}

// Parses numbers with commas between them. Returns false for any other text.
bool to_numbers(std::string_view text, int* array, int length, int* count) {
  std::vector<int> numbers;
  for (;;) {
    int number = 0;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) return false;
    numbers.push_back(number);
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
    if (text.empty()) break;
    if (text.front() != ',') return false;
    text.remove_prefix(1);
  }
  if (numbers.size() > static_cast<std::size_t>(length)) return false;
  std::ranges::copy(numbers, array);
  *count = static_cast<int>(numbers.size());
  return true;
}

template <typename Ask>
int attribute(const char* name, char* value, int length, int* found, Ask ask) noexcept {
  return with_server([&](BlockingClient& server) {
    if (name == nullptr || value == nullptr || found == nullptr) return PMI2_ERR_INVALID_ARG;
    if (length <= 0) return PMI2_ERR_INVALID_LENGTH;
    const auto answer = found_of(ask(server), found);
    if (!answer) return PMI2_SUCCESS;
    return copy_out(answer->value, value, length) ? PMI2_SUCCESS : PMI2_ERR_INVALID_LENGTH;
  });
}

template <typename Ask>
int attribute_array(const char* name, int* array, int length, int* count, int* found, Ask ask) noexcept {
  return with_server([&](BlockingClient& server) {
    if (name == nullptr || array == nullptr || count == nullptr || found == nullptr)
      return PMI2_ERR_INVALID_ARG;
    if (length <= 0) return PMI2_ERR_INVALID_LENGTH;
    const auto answer = found_of(ask(server), found);
    if (!answer) return PMI2_SUCCESS;
    return to_numbers(answer->value, array, length, count) ? PMI2_SUCCESS : PMI2_FAIL;
  });
}

}  // namespace

extern "C" {

int PMI2_Init(int* spawned, int* size, int* rank, int* appnum) {
  return locked([&](Library& state) {
    if (spawned == nullptr || size == nullptr || rank == nullptr || appnum == nullptr)
      return PMI2_ERR_INVALID_ARG;
    if (state.server) return PMI2_FAIL;
    state.server = BlockingClient::open(wireup::wire::Version::v2);
    const auto& info = state.server->info();
    *spawned = info.spawned ? 1 : 0;
    *size = static_cast<int>(info.size);
    *rank = static_cast<int>(info.rank);
    *appnum = info.appnum;
    return PMI2_SUCCESS;
  });
}

int PMI2_Finalize(void) {
  return locked([](Library& state) {
    if (!state.server) return PMI2_ERR_INIT;
    // The connection ends, also if finalize() fails.
    const std::unique_ptr<BlockingClient> server = std::move(state.server);
    return code_of(server->finalize());
  });
}

int PMI2_Initialized(void) {
  return locked([](Library& state) { return state.server ? 1 : 0; }) == 1 ? 1 : 0;
}

int PMI2_Abort(int, const char msg[]) {
  const std::string_view message = msg == nullptr ? "" : msg;
  if (!message.empty()) std::fprintf(stderr, "%s%s", msg, message.ends_with('\n') ? "" : "\n");
  // The lock is free afterwards for exit handlers.
  with_server([&](BlockingClient& server) {
    server.abort(1, message);
    return PMI2_SUCCESS;
  });
  std::exit(1);
}

int PMI2_Job_Spawn(int count, const char* cmds[], int argcs[], const char** argvs[], const int maxprocs[],
                   const int info_keyval_sizes[], const PMI2_keyval_t* info_keyval_vectors[],
                   int preput_keyval_size, const PMI2_keyval_t preput_keyval_vector[], char jobid[],
                   int jobid_size, int errors[]) {
  return with_server([&](BlockingClient& server) {
    if (count <= 0 || cmds == nullptr || maxprocs == nullptr || errors == nullptr)
      return PMI2_ERR_INVALID_ARG;
    wireup::engine::SpawnRequest request;
    std::size_t processes = 0;
    for (int i = 0; i < count; ++i) {
      if (cmds[i] == nullptr || maxprocs[i] < 1) return PMI2_ERR_INVALID_ARG;
      wireup::engine::SpawnCommand command{cmds[i], {}, static_cast<std::uint32_t>(maxprocs[i]), {}};
      for (int arg = 0; argcs != nullptr && arg < argcs[i]; ++arg) {
        if (argvs == nullptr || argvs[i] == nullptr || argvs[i][arg] == nullptr) return PMI2_ERR_INVALID_ARGS;
        command.args.emplace_back(argvs[i][arg]);
      }
      const int infos = info_keyval_sizes == nullptr ? 0 : info_keyval_sizes[i];
      const PMI2_keyval_t* pairs = info_keyval_vectors == nullptr ? nullptr : info_keyval_vectors[i];
      if (!to_pairs(pairs, infos, command.info)) return PMI2_ERR_INVALID_KEYVALP;
      processes += command.ranks;
      request.commands.push_back(std::move(command));
    }
    if (!to_pairs(preput_keyval_vector, preput_keyval_size, request.preput)) return PMI2_ERR_INVALID_KEYVALP;
    const Answer answer = server.spawn(request);
    if (answer.rc != PMI2_SUCCESS) return code_of(answer);
    if (jobid != nullptr && jobid_size > 0 && !copy_out(answer.value, jobid, jobid_size))
      return PMI2_ERR_INVALID_LENGTH;
    // Without error codes in the reply, every process has been started.
    for (std::size_t i = 0; i < processes; ++i)
      errors[i] = i < answer.errcodes.size() ? answer.errcodes[i] : 0;
    return PMI2_SUCCESS;
  });
}

int PMI2_Job_GetId(char jobid[], int jobid_size) {
  return with_server([&](BlockingClient& server) {
    if (jobid == nullptr) return PMI2_ERR_INVALID_ARG;
    if (jobid_size <= static_cast<int>(server.info().kvsname.size())) return PMI2_ERR_INVALID_LENGTH;
    copy_out(server.info().kvsname, jobid, jobid_size);
    return PMI2_SUCCESS;
  });
}

int PMI2_Job_GetRank(int* rank) {
  return with_server([&](BlockingClient& server) {
    if (rank == nullptr) return PMI2_ERR_INVALID_ARG;
    *rank = static_cast<int>(server.info().rank);
    return PMI2_SUCCESS;
  });
}

int PMI2_Job_Connect(const char[], PMI2_Connect_comm_t*) {
  return with_server([](BlockingClient&) { return PMI2_FAIL; });
}

int PMI2_Job_Disconnect(const char[]) {
  return with_server([](BlockingClient&) { return PMI2_FAIL; });
}

int PMI2_KVS_Put(const char key[], const char value[]) {
  return with_server([&](BlockingClient& server) {
    if (key == nullptr) return PMI2_ERR_INVALID_KEY;
    if (value == nullptr) return PMI2_ERR_INVALID_VAL;
    return code_of(server.put(key, value));
  });
}

int PMI2_KVS_Fence(void) {
  return with_server([](BlockingClient& server) { return code_of(server.barrier()); });
}

int PMI2_KVS_Get(const char* jobid, int, const char key[], char value[], int maxvalue, int* vallen) {
  return with_server([&](BlockingClient& server) {
    if (jobid != nullptr && *jobid != '\0' && server.info().kvsname != jobid) return PMI2_ERR_INVALID_ARG;
    if (key == nullptr) return PMI2_ERR_INVALID_KEY;
    if (value == nullptr || vallen == nullptr) return PMI2_ERR_INVALID_VAL;
    if (maxvalue <= 0) return PMI2_ERR_INVALID_LENGTH;
    const Answer answer = server.get(key);
    if (answer.rc != PMI2_SUCCESS) return code_of(answer);
    const int length = static_cast<int>(answer.value.size());
    *vallen = copy_out(answer.value, value, maxvalue) ? length : -length;
    return PMI2_SUCCESS;
  });
}

int PMI2_Info_GetSize(int* size) {
  return with_server([&](BlockingClient& server) {
    if (size == nullptr) return PMI2_ERR_INVALID_ARG;
    *size = static_cast<int>(server.clique().size());
    return PMI2_SUCCESS;
  });
}

int PMI2_Info_GetNodeAttr(const char name[], char value[], int valuelen, int* found, int waitfor) {
  return attribute(name, value, valuelen, found,
                   [&](BlockingClient& server) { return server.get_node_attribute(name, waitfor != 0); });
}

int PMI2_Info_GetNodeAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found) {
  return attribute_array(name, array, arraylen, outlen, found,
                         [&](BlockingClient& server) { return server.get_node_attribute(name, false); });
}

int PMI2_Info_PutNodeAttr(const char name[], const char value[]) {
  return with_server([&](BlockingClient& server) {
    if (name == nullptr) return PMI2_ERR_INVALID_KEY;
    if (value == nullptr) return PMI2_ERR_INVALID_VAL;
    return code_of(server.put_node_attribute(name, value));
  });
}

int PMI2_Info_GetJobAttr(const char name[], char value[], int valuelen, int* found) {
  return attribute(name, value, valuelen, found,
                   [&](BlockingClient& server) { return server.get_job_attribute(name); });
}

int PMI2_Info_GetJobAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found) {
  return attribute_array(name, array, arraylen, outlen, found,
                         [&](BlockingClient& server) { return server.get_job_attribute(name); });
}

int PMI2_Nameserv_publish(const char service_name[], const PMI2_keyval_t*, const char port[]) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr || port == nullptr) return PMI2_ERR_INVALID_ARG;
    return code_of(server.publish(service_name, port));
  });
}

int PMI2_Nameserv_lookup(const char service_name[], const PMI2_keyval_t*, char port[], int portlen) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr || port == nullptr) return PMI2_ERR_INVALID_ARG;
    if (portlen <= 0) return PMI2_ERR_INVALID_LENGTH;
    const Answer answer = server.lookup(service_name);
    if (answer.rc != PMI2_SUCCESS) return code_of(answer);
    return copy_out(answer.value, port, portlen) ? PMI2_SUCCESS : PMI2_ERR_INVALID_LENGTH;
  });
}

int PMI2_Nameserv_unpublish(const char service_name[], const PMI2_keyval_t*) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr) return PMI2_ERR_INVALID_ARG;
    return code_of(server.unpublish(service_name));
  });
}

}  // extern "C"
