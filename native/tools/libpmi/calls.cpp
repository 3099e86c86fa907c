// The functions of RFC 13. They check arguments, copy strings and translate codes. The optional functions
// without effect are in optional.cpp.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "engine/result_codes.h"
#include "tools/libpmi/library.h"

namespace {

using wireup::libpmi::BlockingClient;
using wireup::libpmi::Library;
using wireup::libpmi::locked;
using wireup::libpmi::to_pairs;
using wireup::libpmi::with_server;

static_assert(PMI_ERR_INVALID_VAL_LENGTH == wireup::engine::kInvalidValueLength);

// Keeps the codes for wrong arguments. Every other rc is PMI_FAIL, because each server has its own numbers.
int code_of(const wireup::engine::Answer& answer) {
  if (answer.rc == PMI_SUCCESS) return PMI_SUCCESS;
  return answer.rc >= PMI_ERR_INVALID_ARG && answer.rc <= PMI_ERR_INVALID_VAL_LENGTH ? answer.rc : PMI_FAIL;
}

int copy_out(std::string_view text, char* buffer, int length) {
  if (length <= 0 || text.size() >= static_cast<std::size_t>(length)) return PMI_ERR_INVALID_LENGTH;
  std::memcpy(buffer, text.data(), text.size());
  buffer[text.size()] = '\0';
  return PMI_SUCCESS;
}

bool is_ours(const BlockingClient& server, const char* kvsname) {
  return kvsname != nullptr && server.info().kvsname == kvsname;
}

template <typename Number>
int tell(int* out, Number (*number)(BlockingClient&)) noexcept {
  return with_server([&](BlockingClient& server) {
    if (out == nullptr) return PMI_ERR_INVALID_ARG;
    *out = static_cast<int>(number(server));
    return PMI_SUCCESS;
  });
}

int tell_name(char* kvsname, int length) noexcept {
  return with_server([&](BlockingClient& server) {
    if (kvsname == nullptr) return PMI_ERR_INVALID_ARG;
    return copy_out(server.info().kvsname, kvsname, length);
  });
}

int name_length_max(int* length) noexcept {
  return tell<std::size_t>(length, [](BlockingClient& server) { return server.info().kvsname_max; });
}

}  // namespace

extern "C" {

int PMI_Init(int* spawned) {
  return locked([&](Library& state) {
    if (spawned == nullptr) return PMI_ERR_INVALID_ARG;
    if (state.server) return PMI_FAIL;
    state.server = BlockingClient::open();
    *spawned = state.server->info().spawned ? 1 : 0;
    return PMI_SUCCESS;
  });
}

int PMI_Initialized(int* initialized) {
  return locked([&](Library& state) {
    if (initialized == nullptr) return PMI_ERR_INVALID_ARG;
    *initialized = state.server ? 1 : 0;
    return PMI_SUCCESS;
  });
}

int PMI_Finalize(void) {
  return locked([](Library& state) {
    if (!state.server) return PMI_ERR_INIT;
    // The connection ends, also if finalize() fails.
    const std::unique_ptr<BlockingClient> server = std::move(state.server);
    return code_of(server->finalize());
  });
}

int PMI_Abort(int exit_code, const char error_msg[]) {
  const std::string_view message = error_msg == nullptr ? "" : error_msg;
  if (!message.empty()) std::fprintf(stderr, "%s%s", error_msg, message.ends_with('\n') ? "" : "\n");
  // Sends abort only between init and finalize. The lock is free afterwards for exit handlers.
  with_server([&](BlockingClient& server) {
    server.abort(exit_code, message);
    return PMI_SUCCESS;
  });
  std::exit(exit_code);
}

int PMI_Get_size(int* size) {
  return tell<std::uint32_t>(size, [](BlockingClient& server) { return server.info().size; });
}

int PMI_Get_rank(int* rank) {
  return tell<std::uint32_t>(rank, [](BlockingClient& server) { return server.info().rank; });
}

int PMI_Get_universe_size(int* size) {
  return tell<std::int32_t>(size, [](BlockingClient& server) { return server.info().universe_size; });
}

int PMI_Get_appnum(int* appnum) {
  return tell<std::int32_t>(appnum, [](BlockingClient& server) { return server.info().appnum; });
}

int PMI_Get_clique_size(int* size) {
  return tell<std::size_t>(size, [](BlockingClient& server) { return server.clique().size(); });
}

int PMI_Get_clique_ranks(int ranks[], int length) {
  return with_server([&](BlockingClient& server) {
    if (ranks == nullptr) return PMI_ERR_INVALID_ARG;
    const auto& clique = server.clique();
    if (length <= 0 || static_cast<std::size_t>(length) < clique.size()) return PMI_ERR_INVALID_LENGTH;
    std::copy(clique.begin(), clique.end(), ranks);
    return PMI_SUCCESS;
  });
}

int PMI_KVS_Get_name_length_max(int* length) { return name_length_max(length); }

int PMI_Get_id_length_max(int* length) { return name_length_max(length); }

int PMI_KVS_Get_key_length_max(int* length) {
  return tell<std::size_t>(length, [](BlockingClient& server) { return server.info().key_max; });
}

int PMI_KVS_Get_value_length_max(int* length) {
  return tell<std::size_t>(length, [](BlockingClient& server) { return server.info().value_max; });
}

int PMI_KVS_Get_my_name(char kvsname[], int length) { return tell_name(kvsname, length); }

int PMI_Get_kvs_domain_id(char kvsname[], int length) { return tell_name(kvsname, length); }

int PMI_Get_id(char kvsname[], int length) { return tell_name(kvsname, length); }

int PMI_KVS_Put(const char kvsname[], const char key[], const char value[]) {
  return with_server([&](BlockingClient& server) {
    if (!is_ours(server, kvsname)) return PMI_ERR_INVALID_ARG;
    if (key == nullptr) return PMI_ERR_INVALID_KEY;
    if (value == nullptr) return PMI_ERR_INVALID_VAL;
    return code_of(server.put(key, value));
  });
}

int PMI_KVS_Commit(const char kvsname[]) {
  // PMI_KVS_Put() returns after the server's reply, so nothing is left to do.
  return with_server(
      [&](BlockingClient& server) { return is_ours(server, kvsname) ? PMI_SUCCESS : PMI_ERR_INVALID_ARG; });
}

int PMI_KVS_Get(const char kvsname[], const char key[], char value[], int length) {
  return with_server([&](BlockingClient& server) {
    if (!is_ours(server, kvsname)) return PMI_ERR_INVALID_ARG;
    if (key == nullptr) return PMI_ERR_INVALID_KEY;
    if (value == nullptr) return PMI_ERR_INVALID_VAL;
    if (length <= 0) return PMI_ERR_INVALID_LENGTH;
    const wireup::engine::Answer answer = server.get(key);
    return answer.rc == PMI_SUCCESS ? copy_out(answer.value, value, length) : code_of(answer);
  });
}

int PMI_Barrier(void) {
  return with_server([](BlockingClient& server) { return code_of(server.barrier()); });
}

int PMI_Publish_name(const char service_name[], const char port[]) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr || port == nullptr) return PMI_ERR_INVALID_ARG;
    return code_of(server.publish(service_name, port));
  });
}

int PMI_Unpublish_name(const char service_name[]) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr) return PMI_ERR_INVALID_ARG;
    return code_of(server.unpublish(service_name));
  });
}

int PMI_Lookup_name(const char service_name[], char port[]) {
  return with_server([&](BlockingClient& server) {
    if (service_name == nullptr || port == nullptr) return PMI_ERR_INVALID_ARG;
    const wireup::engine::Answer answer = server.lookup(service_name);
    if (answer.rc != PMI_SUCCESS) return code_of(answer);
    // The function has no length argument. RFC 13 defines no other size for the port.
    const bool fits = copy_out(answer.value, port, static_cast<int>(server.info().value_max)) == PMI_SUCCESS;
    return fits ? PMI_SUCCESS : PMI_FAIL;
  });
}

int PMI_Spawn_multiple(int count, const char* cmds[], const char** argvs[], const int maxprocs[],
                       const int info_keyval_sizesp[], const PMI_keyval_t* info_keyval_vectors[],
                       int preput_keyval_size, const PMI_keyval_t preput_keyval_vector[], int errors[]) {
  return with_server([&](BlockingClient& server) {
    if (count <= 0 || cmds == nullptr || maxprocs == nullptr || errors == nullptr) return PMI_ERR_INVALID_ARG;
    wireup::engine::SpawnRequest request;
    std::size_t processes = 0;
    for (int i = 0; i < count; ++i) {
      if (cmds[i] == nullptr || maxprocs[i] < 1) return PMI_ERR_INVALID_ARG;
      wireup::engine::SpawnCommand command{cmds[i], {}, static_cast<std::uint32_t>(maxprocs[i]), {}};
      for (const char** arg = argvs == nullptr ? nullptr : argvs[i]; arg != nullptr && *arg != nullptr;
           ++arg) {
        command.args.emplace_back(*arg);
      }
      const int infos = info_keyval_sizesp == nullptr ? 0 : info_keyval_sizesp[i];
      const PMI_keyval_t* pairs = info_keyval_vectors == nullptr ? nullptr : info_keyval_vectors[i];
      if (!to_pairs(pairs, infos, command.info)) return PMI_ERR_INVALID_KEYVALP;
      processes += command.ranks;
      request.commands.push_back(std::move(command));
    }
    if (!to_pairs(preput_keyval_vector, preput_keyval_size, request.preput)) return PMI_ERR_INVALID_KEYVALP;
    const wireup::engine::Answer answer = server.spawn(request);
    // Without error codes in the reply, each process has the result of the whole spawn.
    for (std::size_t i = 0; i < processes; ++i) {
      errors[i] = i < answer.errcodes.size() ? answer.errcodes[i] : answer.rc;
    }
    return code_of(answer);
  });
}

}  // extern "C"
